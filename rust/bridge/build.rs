//! Writes millrace_bridge.h from the exported items into the directory that the build names
//! (MILLRACE_BRIDGE_INCLUDE_DIR), or beside the other build products when cargo runs alone.

use std::{env, path::PathBuf};

fn main() {
    println!("cargo:rerun-if-changed=src");
    println!("cargo:rerun-if-changed=cbindgen.toml");
    println!("cargo:rerun-if-env-changed=MILLRACE_BRIDGE_INCLUDE_DIR");

    let crate_dir = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap());
    let include_dir = env::var_os("MILLRACE_BRIDGE_INCLUDE_DIR")
        .or_else(|| env::var_os("OUT_DIR"))
        .unwrap();
    let config = cbindgen::Config::from_file(crate_dir.join("cbindgen.toml")).unwrap();
    cbindgen::generate_with_config(&crate_dir, config)
        .expect("the exported items have a C form")
        .write_to_file(PathBuf::from(include_dir).join("millrace_bridge.h"));
}
