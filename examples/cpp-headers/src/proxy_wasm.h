// The part of the Proxy-Wasm ABI 0.2.1 that this example needs, written down directly: what the
// host exports to a filter (imports of the module) and nothing else. No SDK is involved.
#pragma once

#include <cstddef>
#include <cstdint>

#define HOST(name) extern "C" __attribute__((import_module("env"), import_name(#name)))
#define EXPORT(name) extern "C" __attribute__((export_name(#name)))

enum class Status : int32_t { Ok = 0, NotFound = 1 };
enum class LogLevel : int32_t { Trace = 0, Debug = 1, Info = 2, Warn = 3, Error = 4, Critical = 5 };
enum class MapType : int32_t { RequestHeaders = 0, ResponseHeaders = 2 };
enum class BufferType : int32_t { VmConfiguration = 6, PluginConfiguration = 7 };
enum class Action : int32_t { Continue = 0, Pause = 1 };

HOST(proxy_log)
Status proxy_log(LogLevel level, const char *message, size_t message_size);

HOST(proxy_get_buffer_bytes)
Status proxy_get_buffer_bytes(BufferType type, size_t start, size_t max_size, char **data, size_t *size);

HOST(proxy_get_header_map_pairs)
Status proxy_get_header_map_pairs(MapType type, char **data, size_t *size);

HOST(proxy_replace_header_map_value)
Status proxy_replace_header_map_value(MapType type, const char *key, size_t key_size, const char *value,
                                      size_t value_size);

HOST(proxy_send_local_response)
Status proxy_send_local_response(uint32_t status_code, const char *details, size_t details_size, const char *body,
                                 size_t body_size, const char *headers, size_t headers_size, int32_t grpc_status);
