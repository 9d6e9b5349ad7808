//! Reads descriptions of protobuf messages, as much as the builds of raft and of etcd's client ask
//! of the compiler `protoc`.
//!
//! That of raft would otherwise run a compiled program which one of its packages carries along, and
//! that of etcd's client needs an installed one. Here everything that runs was built from source.

use std::path::PathBuf;
use std::process::ExitCode;
use std::{env, fs};

/// The answer to `--version`: the last generation that raft's build accepts.
const VERSION: &str = "libprotoc 3.21.0";

fn compile() -> Result<(), String> {
    let (mut includes, mut files, mut output) = (Vec::new(), Vec::new(), None);
    let mut words = env::args().skip(1);
    while let Some(word) = words.next() {
        if word == "-I" {
            includes.extend(words.next().map(PathBuf::from));
        } else if let Some(folder) = word.strip_prefix("-I") {
            includes.push(PathBuf::from(folder));
        } else if word == "-o" {
            output = words.next();
        } else if word.starts_with("--include_") {
            // Imports and places in the source are always included.
        } else if word.starts_with('-') {
            return Err(format!("{word} is unknown; see benches/peers/README.md"));
        } else {
            files.push(word);
        }
    }
    // A folder that is not there is no error to the real one.
    includes.retain(|folder| folder.is_dir());
    let output = output.ok_or("-o FILE is missing")?;
    let mut compiler = protox::Compiler::new(includes).map_err(|error| error.to_string())?;
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files(files).map_err(|error| format!("{error:?}"))?;
    fs::write(&output, compiler.encode_file_descriptor_set())
        .map_err(|error| format!("cannot write {output}: {error}"))
}

fn main() -> ExitCode {
    if env::args().nth(1).as_deref() == Some("--version") {
        println!("{VERSION}");
        return ExitCode::SUCCESS;
    }
    match compile() {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("protoc: {reason}");
            ExitCode::FAILURE
        }
    }
}
