// A Proxy-Wasm filter in C++ that looks at the headers of each request.
//
// It counts them, remembers the longest, refuses a request whose headers are larger than the
// configured limit (431), and tells the client what it saw in the response header `x-headers`.

#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "proxy_wasm.h"

namespace {

struct Header {
  std::string name;
  std::string value;
};

/// What is known about one request. The host names it by its context id.
struct Request {
  uint32_t id = 0;
  std::string path;
  std::vector<Header> headers;
  size_t bytes = 0;
  size_t longest = 0; // index into headers
  bool refused = false;
};

std::map<uint32_t, Request> requests;
size_t limit = 8192;

void log_info(const std::string &text) { proxy_log(LogLevel::Info, text.data(), text.size()); }

uint32_t read_u32(const char *at) {
  uint32_t number;
  std::memcpy(&number, at, sizeof number);
  return number;
}

/// Decodes a serialized header map: the number of pairs, the two sizes of each, then the texts,
/// each with a zero byte behind it. All numbers are 32 bits, little endian.
std::vector<Header> decode_headers(const char *data, size_t size) {
  std::vector<Header> headers;
  if (size < 4) {
    return headers;
  }
  uint32_t count = read_u32(data);
  if (count > (size - 4) / 8) {
    return headers;
  }
  const char *sizes = data + 4;
  const char *text = sizes + 8 * count;
  const char *end = data + size;
  for (uint32_t i = 0; i < count; i++) {
    size_t name_size = read_u32(sizes + 8 * i);
    size_t value_size = read_u32(sizes + 8 * i + 4);
    size_t left = end - text;
    if (name_size >= left || value_size >= left - name_size - 1) {
      break;
    }
    Header header;
    header.name.assign(text, name_size);
    header.value.assign(text + name_size + 1, value_size);
    headers.push_back(header);
    text += name_size + value_size + 2;
  }
  return headers;
}

std::vector<Header> request_headers() {
  char *data = nullptr;
  size_t size = 0;
  if (proxy_get_header_map_pairs(MapType::RequestHeaders, &data, &size) != Status::Ok) {
    return {};
  }
  std::vector<Header> headers = decode_headers(data, size);
  std::free(data);
  return headers;
}

/// Adds up the sizes and finds the longest header.
void measure(Request &request) {
  size_t longest_size = 0;
  for (size_t i = 0; i < request.headers.size(); i++) {
    const Header &header = request.headers[i];
    size_t header_size = header.name.size() + header.value.size();
    request.bytes += header_size;
    if (header_size > longest_size) {
      longest_size = header_size;
      request.longest = i;
    }
    if (header.name == ":path") {
      request.path = header.value;
    }
  }
}

void refuse(Request &request) {
  request.refused = true;
  std::string body = "headers of " + std::to_string(request.bytes) + " bytes, the limit is " + std::to_string(limit) + "\n";
  proxy_send_local_response(431, "", 0, body.data(), body.size(), "", 0, -1);
}

} // namespace

EXPORT(proxy_abi_version_0_2_1) void proxy_abi_version_0_2_1() {}

// The host asks for memory through this when it returns data.
EXPORT(proxy_on_memory_allocate) void *proxy_on_memory_allocate(size_t size) { return std::malloc(size); }

EXPORT(proxy_on_vm_start) int32_t proxy_on_vm_start(uint32_t, size_t) { return 1; }

EXPORT(proxy_on_configure) int32_t proxy_on_configure(uint32_t, size_t size) {
  if (size > 0) {
    char *data = nullptr;
    size_t got = 0;
    if (proxy_get_buffer_bytes(BufferType::PluginConfiguration, 0, size, &data, &got) == Status::Ok) {
      std::string text(data, got);
      std::free(data);
      limit = std::strtoul(text.c_str(), nullptr, 10);
    }
  }
  log_info("configured: at most " + std::to_string(limit) + " bytes of headers");
  return limit > 0;
}

EXPORT(proxy_on_context_create) void proxy_on_context_create(uint32_t context_id, uint32_t parent_id) {
  if (parent_id != 0) {
    requests[context_id].id = context_id;
  }
}

EXPORT(proxy_on_request_headers) Action proxy_on_request_headers(uint32_t context_id, uint32_t count, uint32_t) {
  Request &request = requests[context_id];
  request.headers = request_headers();
  measure(request);
  log_info("#" + std::to_string(request.id) + " " + request.path + ": " + std::to_string(count) + " headers, " +
           std::to_string(request.bytes) + " bytes");
  if (request.bytes > limit) {
    refuse(request);
    return Action::Pause;
  }
  return Action::Continue;
}

EXPORT(proxy_on_response_headers) Action proxy_on_response_headers(uint32_t context_id, uint32_t, uint32_t) {
  const Request &request = requests[context_id];
  std::string seen = std::to_string(request.headers.size()) + "; bytes=" + std::to_string(request.bytes);
  if (!request.headers.empty()) {
    seen += "; longest=" + request.headers[request.longest].name;
  }
  proxy_replace_header_map_value(MapType::ResponseHeaders, "x-headers", 9, seen.data(), seen.size());
  return Action::Continue;
}

EXPORT(proxy_on_done) int32_t proxy_on_done(uint32_t) { return 1; }

EXPORT(proxy_on_log) void proxy_on_log(uint32_t) {}

EXPORT(proxy_on_delete) void proxy_on_delete(uint32_t context_id) { requests.erase(context_id); }
