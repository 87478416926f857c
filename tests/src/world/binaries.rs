//! Where the product's programs are.
//!
//! Never builds anything. They are looked for beside the running program, which is where cargo puts them; `E2E_BIN_DIR`
//! names another folder. Next: [`super::process`] starts them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The program `name`, such as `token-broker`.
///
/// # Errors
/// It is not there; the text says how to build it.
pub fn binary(name: &str) -> Result<PathBuf> {
    let mut tried = Vec::new();
    for folder in folders()? {
        let path = folder.join(name);
        if path.is_file() {
            return Ok(path);
        }
        tried.push(folder.display().to_string());
    }
    bail!(
        "the program {name} is not in {}: run `cargo build --workspace` first",
        tried.join(" or ")
    )
}

/// The repository's folder `tests`, for the scripts beside this crate.
pub fn tests_folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn folders() -> Result<Vec<PathBuf>> {
    if let Some(named) = std::env::var_os("E2E_BIN_DIR") {
        return Ok(vec![PathBuf::from(named)]);
    }
    let own = std::env::current_exe().context("where this program is")?;
    // target/debug/demo, or target/debug/deps/get_access_token-0123456789abcdef.
    Ok(own.ancestors().skip(1).take(2).map(Path::to_path_buf).collect())
}
