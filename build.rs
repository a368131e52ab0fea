//! Turns `proto/*.proto` into Rust, without protoc.
//!
//! rust-protobuf 3 parses the files and writes the messages. `grpcio-compiler` writes the services,
//! but reads descriptors of protobuf 2 only, so they are handed over as bytes.
//!
//! It also makes the JSON Schema of the configuration as short as the program keeps it.

#![expect(clippy::disallowed_methods, reason = "cargo speaks to build scripts by the environment")]

use std::{env, error::Error, fs, io::Write, path::Path};

use protobuf::Message;
use protobuf2::Message as Message2;

const PROTOS: &[&str] = &["deviceplugin", "podresources", "pluginregistration", "runtime"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=deploy/no-unwind.ld");
    if env::var("CARGO_CFG_TARGET_ENV")? == "musl" {
        // The linker runs in this directory. A whole path would be kept with what is built, and be wrong where another
        // checkout goes on with that.
        println!("cargo:rustc-link-arg-bins=-Wl,-T,deploy/no-unwind.ld");
    }
    let out = env::var("OUT_DIR")?;
    let schema = "docs/config.schema.json";
    println!("cargo:rerun-if-changed={schema}");
    // What the program has of it need not be pretty: half of it are blanks.
    let lines = fs::read_to_string(schema)?.lines().map(str::trim).collect::<Vec<_>>().concat();
    fs::write(Path::new(&out).join("config.schema.json"), lines)?;
    let out = Path::new(&out).join("proto");
    fs::create_dir_all(&out)?;
    let inputs: Vec<String> = PROTOS.iter().map(|name| format!("proto/{name}.proto")).collect();
    for input in &inputs {
        println!("cargo:rerun-if-changed={input}");
    }
    protobuf_codegen::Codegen::new().pure().out_dir(&out).include("proto").inputs(&inputs).run()?;

    let parsed = protobuf_parse::Parser::new()
        .pure()
        .include("proto")
        .inputs(&inputs)
        .parse_and_typecheck()?;
    let mut descriptors = Vec::new();
    let mut files = Vec::new();
    for descriptor in &parsed.file_descriptors {
        let bytes = descriptor.write_to_bytes()?;
        files.push(descriptor.name().to_owned());
        descriptors.push(protobuf2::descriptor::FileDescriptorProto::parse_from_bytes(&bytes)?);
    }
    let mut modules = fs::OpenOptions::new().append(true).open(out.join("mod.rs"))?;
    for generated in grpcio_compiler::codegen::r#gen(&descriptors, &files) {
        fs::write(out.join(&generated.name), &generated.content)?;
        // Services are written beside the messages; `mod.rs` knows only the latter.
        writeln!(modules, "pub mod {};", generated.name.trim_end_matches(".rs"))?;
    }
    Ok(())
}
