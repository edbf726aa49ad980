/* A host that exports the plugin interface under C++ symbols, as Traffic Server 10 does, loads a
   plugin and tells on standard output what the plugin asks of it. The symbols come from stubs.h,
   which the test writes: STUB(name, symbol) for what is only there to be found, and RECORDS, the
   names of its records. */
#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT(result, name, symbol, parameters) \
    result name parameters __asm__(symbol);      \
    result name parameters
#define STUB(name, symbol)                                       \
    void name(void) __asm__(symbol);                             \
    void name(void)                                              \
    {                                                            \
        printf("unexpected call of %s\n", #name);                \
        exit(3);                                                 \
    }

#include "stubs.h"

static char continuation;

static void print(const char *what, const char *format, va_list arguments)
{
    printf("%s: ", what);
    vprintf(format, arguments);
    printf("\n");
}

EXPORT(int, host_register, SYMBOL_TSPluginRegister, (const char *const *info))
{
    printf("registered: %s\n", info[0]);
    return 0;
}
EXPORT(void, host_error, SYMBOL_TSError, (const char *format, ...))
{
    va_list arguments;
    va_start(arguments, format);
    print("error", format, arguments);
    va_end(arguments);
}
EXPORT(void, host_warning, SYMBOL_TSWarning, (const char *format, ...))
{
    va_list arguments;
    va_start(arguments, format);
    print("warning", format, arguments);
    va_end(arguments);
}
EXPORT(void, host_note, SYMBOL_TSNote, (const char *format, ...))
{
    va_list arguments;
    va_start(arguments, format);
    print("note", format, arguments);
    va_end(arguments);
}
EXPORT(const char *, host_version, SYMBOL_TSTrafficServerVersionGet, (void)) { return "10.2.0"; }
EXPORT(const char *, host_config, SYMBOL_TSConfigDirGet, (void)) { return getenv("HOST_DIR"); }
EXPORT(const char *, host_runtime, SYMBOL_TSRuntimeDirGet, (void)) { return getenv("HOST_DIR"); }
/* Whether there is such a record; the server itself says nothing of one that it does not know. */
static int is_record(const char *name)
{
    for (size_t record = 0; record < sizeof RECORDS / sizeof *RECORDS; record++) {
        if (strcmp(name, RECORDS[record]) == 0) {
            return 1;
        }
    }
    printf("no such record: %s\n", name);
    return 0;
}

EXPORT(int, host_integer, SYMBOL_TSMgmtIntGet, (const char *name, long *value))
{
    if (!is_record(name)) {
        return -1;
    }
    if (strcmp(name, "proxy.config.thread.default.stacksize") == 0) {
        *value = atol(getenv("HOST_STACK"));
    } else if (strcmp(name, "proxy.config.exec_thread.limit") == 0) {
        *value = 8;
    } else {
        *value = 0;
    }
    return 0;
}
EXPORT(int, host_fraction, SYMBOL_TSMgmtFloatGet, (const char *name, float *value))
{
    *value = 1;
    return is_record(name) ? 0 : -1;
}
EXPORT(int, host_reserve, SYMBOL_TSUserArgIndexReserve, (int type, const char *name, const char *about, int *index))
{
    (void)type, (void)name, (void)about;
    *index = 5;
    return 0;
}
EXPORT(int, host_find, SYMBOL_TSHttpTxnConfigFind, (const char *name, int length, int *key, int *type))
{
    (void)length;
    *key = *type = 1;
    return is_record(name) ? 0 : -1;
}
EXPORT(void *, host_cont, SYMBOL_TSContCreate, (void *handler, void *mutex))
{
    (void)handler, (void)mutex;
    return &continuation;
}
EXPORT(void *, host_mutex, SYMBOL_TSMutexCreate, (void)) { return &continuation; }
EXPORT(void, host_data, SYMBOL_TSContDataSet, (void *cont, void *data)) { (void)cont, (void)data; }
EXPORT(void, host_hook, SYMBOL_TSHttpHookAdd, (int hook, void *cont))
{
    (void)cont;
    printf("hook: %d\n", hook);
}
EXPORT(void, host_lifecycle, SYMBOL_TSLifecycleHookAdd, (int hook, void *cont))
{
    (void)cont;
    printf("lifecycle hook: %d\n", hook);
}

int main(int count, char **words)
{
    void *plugin = count > 1 ? dlopen(words[1], RTLD_NOW) : NULL;
    if (!plugin) {
        printf("cannot load: %s\n", dlerror());
        return 2;
    }
    void (*init)(int, const char **) = (void (*)(int, const char **))dlsym(plugin, "TSPluginInit");
    if (!init) {
        printf("no TSPluginInit\n");
        return 2;
    }
    init(count - 1, (const char **)words + 1);
    printf("init returned\n");
    fflush(stdout);
    /* Version 10 unloads a plugin's copy after a reload: the code must stay. */
    dlclose(plugin);
    printf("unloaded: %s\n", dlopen(words[1], RTLD_NOW | RTLD_NOLOAD) ? "no" : "yes");
    fflush(stdout);
    _Exit(0);
}
