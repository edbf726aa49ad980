//! Linker flags of the plugin.

fn main() {
    // Traffic Server unloads remap plugins after a reload; wasmtime's signal handlers, the threads'
    // code and thread-local destructors must stay.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    println!("cargo:rerun-if-changed=build.rs");
}
