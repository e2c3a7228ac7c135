//! The library of ONNX Runtime: found and loaded before anything needs it, since its binding
//! panics where it is missing.

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::path::{Path, PathBuf};

use memquill_core::{Error, Result};

/// Loads the library that is named, else the first one in `folders`, else the system's. The first
/// one that was loaded serves the whole process.
pub(super) fn load(named: Option<&Path>, folders: &[&Path]) -> Result<()> {
    let environment = || std::env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty());
    let path = named
        .map(Path::to_path_buf)
        .or_else(|| environment().map(PathBuf::from))
        .or_else(|| folders.iter().find_map(|folder| library_in(folder)))
        .unwrap_or_else(|| PathBuf::from(format!("{DLL_PREFIX}onnxruntime{DLL_SUFFIX}")));
    // Only the library is wanted here: fastembed makes the environment.
    ort::init_from(&path).map(drop).map_err(|error| {
        Error::config(format!("ONNX Runtime cannot be loaded: {error}")).with_hint(
            "run `cargo xtask models`; or install ONNX Runtime 1.24 or newer, and set \
             ORT_DYLIB_PATH to its library",
        )
    })
}

/// A library with or without a version in its name, as in `libonnxruntime.so.1.31.1`.
fn library_in(folder: &Path) -> Option<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(is_library))
        .collect();
    found.sort();
    found.pop()
}

fn is_library(name: &str) -> bool {
    // "onnxruntime.dll", "libonnxruntime.so.1.31.1", "libonnxruntime.1.31.1.dylib"; not
    // "libonnxruntime_providers_shared.so".
    name.strip_prefix(DLL_PREFIX)
        .and_then(|name| name.strip_prefix("onnxruntime."))
        .is_some_and(|rest| rest.contains(&DLL_SUFFIX[1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_library_of_a_folder_is_found_and_its_plugins_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let name = |version: &str| format!("{DLL_PREFIX}onnxruntime{DLL_SUFFIX}{version}");
        for file in ["model.onnx".into(), format!("{DLL_PREFIX}onnxruntime_x{DLL_SUFFIX}")] {
            std::fs::write(folder.path().join(file), "").unwrap();
        }
        assert_eq!(library_in(folder.path()), None);
        for version in [".1.24.0", ".1.31.1"] {
            std::fs::write(folder.path().join(name(version)), "").unwrap();
        }
        assert_eq!(library_in(folder.path()), Some(folder.path().join(name(".1.31.1"))));
    }

    #[test]
    fn a_library_that_is_not_there_is_an_error_with_its_path_and_a_hint() {
        let error = load(Some(Path::new("/no/such/library.so")), &[]).unwrap_err();
        assert_eq!(error.code(), "config");
        assert!(error.message().contains("/no/such/library.so"), "{error}");
        assert!(error.hint().unwrap().contains("ORT_DYLIB_PATH"));
    }
}
