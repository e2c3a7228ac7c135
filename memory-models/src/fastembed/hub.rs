//! Models by name.

use fastembed::{EmbeddingModel, ModelInfo, TextEmbedding};
use memquill_core::{Error, Result, did_you_mean};

/// A model by its name, as in `BAAI/bge-small-en-v1.5`, with or without who published it, since
/// fastembed often takes somebody else's conversion; or by fastembed's own name for it, as in
/// `BGESmallENV15`. Upper and lower case are one.
pub(super) fn model(name: &str) -> Result<ModelInfo<EmbeddingModel>> {
    let models = TextEmbedding::list_supported_models();
    let own = |model: &ModelInfo<EmbeddingModel>| format!("{:?}", model.model);
    // Several precisions of a model share its code: that of the code is the full one, which comes
    // first by its shorter name.
    let found = models
        .iter()
        .filter(|model| {
            let code = model.model_code.as_str();
            own(model).eq_ignore_ascii_case(name) || short(code).eq_ignore_ascii_case(short(name))
        })
        .min_by_key(|model| own(model).len());
    if let Some(found) = found {
        return Ok(found.clone());
    }
    let codes = models.iter().map(|model| model.model_code.as_str());
    let hint = did_you_mean(name, codes).unwrap_or_else(|| {
        "name a folder with model.onnx and its tokenizer, a folder of MEMQUILL_MODELS (`cargo \
         xtask models` makes all-MiniLM-L6-v2), or a model that fastembed knows, as in \
         BAAI/bge-small-en-v1.5"
            .to_owned()
    });
    Err(Error::config(format!("there is no model {name:?}, neither as a folder nor by name"))
        .with_hint(hint))
}

/// What follows the slash, without the mark of a conversion.
fn short(code: &str) -> &str {
    let short = code.rsplit_once('/').map_or(code, |(_, short)| short);
    short.strip_suffix("-onnx").or_else(|| short.strip_suffix("-ONNX")).unwrap_or(short)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_has_several_names() {
        for name in [
            "sentence-transformers/all-MiniLM-L6-v2",
            "Qdrant/all-MiniLM-L6-v2-onnx",
            "all-minilm-l6-v2",
            "AllMiniLML6V2",
        ] {
            assert_eq!(model(name).unwrap().model, EmbeddingModel::AllMiniLML6V2, "{name}");
        }
        for name in ["BAAI/bge-small-en-v1.5", "bgesmallenv15"] {
            assert_eq!(model(name).unwrap().model, EmbeddingModel::BGESmallENV15, "{name}");
        }
        for name in ["BAAI/bge-m3", "BGE-M3", "bgem3"] {
            assert_eq!(model(name).unwrap().model, EmbeddingModel::BGEM3);
        }
        // Both precisions have this code.
        let full = model("snowflake/snowflake-arctic-embed-xs").unwrap();
        assert_eq!(full.model, EmbeddingModel::SnowflakeArcticEmbedXS);
    }

    #[test]
    fn an_unknown_name_is_told_what_is_near() {
        let error = model("BAAI/bge-m2").unwrap_err();
        assert_eq!(error.code(), "config");
        assert!(error.hint().unwrap().contains("BAAI/bge-m3"), "{error}");
    }
}
