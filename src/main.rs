//! The `onionskin` program: hands its arguments to the command-line face.

use std::process::ExitCode;

fn main() -> ExitCode {
    onionskin::face::cli::main()
}
