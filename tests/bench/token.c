/* The token filter as a native Traffic Server plugin: what the Wasm filter is measured against.
 *
 * The header `token` must be a prime number, else the answer is 403. A request that passes carries
 * the number back in the response header `x-token-prime`.
 *
 * The few functions of the plugin API are declared here, as Traffic Server 9.2 exports them, so that
 * building this needs a C compiler and nothing else. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef void *TSCont, *TSHttpTxn, *TSMBuffer, *TSMLoc;
typedef struct {
  const char *plugin_name, *vendor_name, *support_email;
} TSPluginRegistrationInfo;

enum { TS_SUCCESS = 0 };
enum { TS_HTTP_READ_REQUEST_HDR_HOOK = 0, TS_HTTP_SEND_RESPONSE_HDR_HOOK = 5 };
enum { TS_EVENT_HTTP_CONTINUE = 60000, TS_EVENT_HTTP_READ_REQUEST_HDR = 60002, TS_EVENT_HTTP_SEND_RESPONSE_HDR = 60007 };
enum { TS_USER_ARGS_TXN = 0 };

extern int TSPluginRegister(const TSPluginRegistrationInfo *info);
extern TSCont TSContCreate(int (*handler)(TSCont, int, void *), void *mutex);
extern void TSHttpHookAdd(int hook, TSCont cont);
extern void TSHttpTxnReenable(TSHttpTxn txn, int event);
extern int TSUserArgIndexReserve(int type, const char *name, const char *description, int *index);
extern void *TSUserArgGet(void *owner, int index);
extern void TSUserArgSet(void *owner, int index, void *value);
extern int TSHttpTxnClientReqGet(TSHttpTxn txn, TSMBuffer *buffer, TSMLoc *headers);
extern int TSHttpTxnClientRespGet(TSHttpTxn txn, TSMBuffer *buffer, TSMLoc *headers);
extern int TSHandleMLocRelease(TSMBuffer buffer, TSMLoc parent, TSMLoc location);
extern TSMLoc TSMimeHdrFieldFind(TSMBuffer buffer, TSMLoc headers, const char *name, int length);
extern const char *TSMimeHdrFieldValueStringGet(TSMBuffer buffer, TSMLoc headers, TSMLoc field, int index, int *length);
extern int TSMimeHdrFieldValueStringSet(TSMBuffer buffer, TSMLoc headers, TSMLoc field, int index, const char *value, int length);
extern int TSMimeHdrFieldCreateNamed(TSMBuffer buffer, TSMLoc headers, const char *name, int length, TSMLoc *field);
extern int TSMimeHdrFieldAppend(TSMBuffer buffer, TSMLoc headers, TSMLoc field);
extern void TSHttpTxnStatusSet(TSHttpTxn txn, int status);
extern void TSHttpTxnErrorBodySet(TSHttpTxn txn, char *body, size_t length, char *mimetype);
extern char *_TSstrdup(const char *text, int64_t length, const char *place);

static int token_index;

/* The same trial division as in the Wasm filter. */
static uint64_t smallest_divisor(uint64_t number) {
  if (number < 4)
    return number;
  if (number % 2 == 0)
    return 2;
  for (uint64_t divisor = 3; divisor <= number / divisor; divisor += 2)
    if (number % divisor == 0)
      return divisor;
  return number;
}

static int is_prime(uint64_t number) {
  return number >= 2 && smallest_divisor(number) == number;
}

/* The header's number, or 0 when it is none. */
static uint64_t read_token(TSHttpTxn txn) {
  TSMBuffer buffer;
  TSMLoc headers;
  uint64_t token = 0;

  if (TSHttpTxnClientReqGet(txn, &buffer, &headers) != TS_SUCCESS)
    return 0;
  TSMLoc field = TSMimeHdrFieldFind(buffer, headers, "token", 5);
  if (field) {
    int length = 0;
    const char *text = TSMimeHdrFieldValueStringGet(buffer, headers, field, -1, &length);
    for (int at = 0; at < length; at++) {
      uint64_t digit = (uint64_t)(text[at] - '0');
      if (digit > 9 || __builtin_mul_overflow(token, 10, &token) || __builtin_add_overflow(token, digit, &token)) {
        token = 0;
        break;
      }
    }
    TSHandleMLocRelease(buffer, headers, field);
  }
  TSHandleMLocRelease(buffer, NULL, headers);
  return token;
}

static void refuse(TSHttpTxn txn) {
  TSHttpTxnStatusSet(txn, 403);
  TSHttpTxnErrorBodySet(txn, _TSstrdup("not a prime\n", -1, "token.c"), 12, _TSstrdup("text/plain", -1, "token.c"));
}

static void add_header(TSHttpTxn txn, uint64_t token) {
  TSMBuffer buffer;
  TSMLoc headers, field;
  char text[24];

  if (TSHttpTxnClientRespGet(txn, &buffer, &headers) != TS_SUCCESS)
    return;
  if (TSMimeHdrFieldCreateNamed(buffer, headers, "x-token-prime", 13, &field) == TS_SUCCESS) {
    int length = snprintf(text, sizeof text, "%llu", (unsigned long long)token);
    TSMimeHdrFieldValueStringSet(buffer, headers, field, -1, text, length);
    TSMimeHdrFieldAppend(buffer, headers, field);
    TSHandleMLocRelease(buffer, headers, field);
  }
  TSHandleMLocRelease(buffer, NULL, headers);
}

static int handle(TSCont cont, int event, void *data) {
  TSHttpTxn txn = data;
  uint64_t token;

  (void)cont;
  switch (event) {
  case TS_EVENT_HTTP_READ_REQUEST_HDR:
    token = read_token(txn);
    if (is_prime(token))
      TSUserArgSet(txn, token_index, (void *)(uintptr_t)token);
    else
      refuse(txn);
    break;
  case TS_EVENT_HTTP_SEND_RESPONSE_HDR:
    token = (uintptr_t)TSUserArgGet(txn, token_index);
    if (token)
      add_header(txn, token);
    break;
  }
  TSHttpTxnReenable(txn, TS_EVENT_HTTP_CONTINUE);
  return 0;
}

void TSPluginInit(int argc, const char *argv[]) {
  TSPluginRegistrationInfo info = {"token", "wasmdbg", ""};

  (void)argc;
  (void)argv;
  if (TSPluginRegister(&info) != TS_SUCCESS ||
      TSUserArgIndexReserve(TS_USER_ARGS_TXN, "token", "the token of a transaction", &token_index) != TS_SUCCESS)
    return;
  TSCont cont = TSContCreate(handle, NULL);
  TSHttpHookAdd(TS_HTTP_READ_REQUEST_HDR_HOOK, cont);
  TSHttpHookAdd(TS_HTTP_SEND_RESPONSE_HDR_HOOK, cont);
}
