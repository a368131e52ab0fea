//! The program `chandler`; all of it is in the library.

use std::{env, process::ExitCode};

fn main() -> ExitCode {
    chandler::cli::main(env::args_os()).into()
}
