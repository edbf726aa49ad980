//! Which code is of a standard library or a compiler's runtime, by the paths that toolchains give it.

use wasmdbg_symbols::{Language, SourceFrame};

/// Whether a frame is of a library.
pub(super) fn of_library(frame: &SourceFrame) -> bool {
    let of_go = |path: &str| frame.language == Language::Go && is_go_package(path);
    frame.position.as_ref().is_some_and(|position| is_library(&position.path) || of_go(&position.path))
}

/// Whether a path of `go build -trimpath` is that of a package that comes with Go: `runtime/proc.go`.
fn is_go_package(path: &str) -> bool {
    const FOLDERS: &str = "bufio bytes cmp compress container context crypto encoding errors fmt hash html internal \
        io iter log maps math net os path reflect regexp runtime slices sort strconv strings sync syscall time unicode";
    path.split_once('/').is_some_and(|(first, _)| FOLDERS.split_whitespace().any(|folder| folder == first))
}

/// Whether a source file is of a standard library, by the paths that toolchains give these.
pub fn is_library(path: &str) -> bool {
    let parts = [
        "/rustc/",
        "library/core/",
        "library/alloc/",
        "library/std/",
        "library/compiler-builtins/",
        "library/panic_abort/",
        "library/unwind/",
        "library/stdarch/",
        "library/portable-simd/",
        "library/backtrace/",
        "compiler_builtins-",
        "compiler-rt/",
        "c++/v1/",
        "/libcxx/",
        "/libcxxabi/",
        "/wasi-libc/",
        "/lib/zig/",
        "/tinygo/src/",
        "~lib/",
        "/go/src/",
    ];
    parts.iter().any(|part| path.contains(part))
}
