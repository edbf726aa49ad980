/* Just enough of each type for its name in a C++ symbol: what is inside does not show there. */
#include <cstddef>
#include <cstdint>

struct sockaddr;
struct TSPluginRegistrationInfo;
typedef struct tsapi_mloc *TSMLoc;
typedef struct tsapi_mbuffer *TSMBuffer;
typedef struct tsapi_httpssn *TSHttpSsn;
typedef struct tsapi_httptxn *TSHttpTxn;
typedef struct tsapi_thread *TSThread;
typedef struct tsapi_event_thread *TSEventThread;
typedef struct tsapi_mutex *TSMutex;
typedef struct tsapi_cont *TSCont;
typedef struct tsapi_cont *TSVConn;
typedef struct tsapi_action *TSAction;
typedef struct tsapi_ssl_obj *TSSslConnection;
typedef int64_t TSHRTime;
typedef int64_t TSMgmtInt;
typedef float TSMgmtFloat;
enum TSReturnCode : int;
enum TSEvent : int;
enum TSHttpHookID : int;
enum TSLifecycleHookID : int;
enum TSHttpStatus : int;
enum TSThreadPool : int;
enum TSUserArgType : int;
enum TSMilestonesType : int;
enum TSOverridableConfigKey : int;
enum TSRecordDataType : int;
enum TSStatPersistence : int;
enum TSStatSync : int;
typedef int (*TSEventFunc)(TSCont, TSEvent, void *);
typedef void *(*TSThreadFunc)(void *);
