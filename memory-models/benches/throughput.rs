//! What the embedder costs over the model itself, and what batches gain:
//! `cargo bench -p memquill-models --features fastembed`, with the model of `cargo xtask models`.
//!
//! Both sides of a ratio take turns within one run, so that a busy machine slows both; printed are
//! the ratio of the fastest turns and the median of the turns' ratios.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark")]

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use fastembed::{
    InitOptionsUserDefined, Pooling, TextEmbedding, TokenizerFiles, UserDefinedEmbeddingModel,
};
use memquill_core::Embedder as _;
use memquill_models::{FastembedConfig, FastembedEmbedder, models_folder};

const MODEL: &str = "all-MiniLM-L6-v2";
const WORDS: [&str; 16] = [
    "memory", "the", "a", "store", "answers", "agent", "of", "every", "river", "quick", "passage",
    "in", "question", "under", "seven", "lights",
];

/// Texts of 5 to 60 words, in an order without order, all different.
fn texts(count: usize) -> Vec<String> {
    let mut state = 7_u64;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(state >> 40).unwrap()
    };
    let mut text = |n: usize| {
        let words: Vec<_> = (0..5 + next() % 56).map(|_| WORDS[next() % WORDS.len()]).collect();
        format!("{n} {}", words.join(" "))
    };
    (0..count).map(&mut text).collect()
}

fn direct(threads: usize) -> TextEmbedding {
    let folder = models_folder().unwrap().join(MODEL);
    let file = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let tokenizer = TokenizerFiles {
        tokenizer_file: file("tokenizer.json"),
        config_file: file("config.json"),
        special_tokens_map_file: file("special_tokens_map.json"),
        tokenizer_config_file: file("tokenizer_config.json"),
    };
    let model =
        UserDefinedEmbeddingModel::new(file("model.onnx"), tokenizer).with_pooling(Pooling::Mean);
    let options = InitOptionsUserDefined::new().with_max_length(256).with_intra_threads(threads);
    TextEmbedding::try_new_from_user_defined(model, options).unwrap()
}

fn report(what: &str, unit: f64, ours: &[Duration], other: &[Duration]) {
    let seconds =
        |times: &[Duration]| -> Vec<f64> { times.iter().map(Duration::as_secs_f64).collect() };
    let (ours, other) = (seconds(ours), seconds(other));
    let best = |times: &[f64]| times.iter().copied().fold(f64::INFINITY, f64::min);
    let mut ratios: Vec<f64> = ours.iter().zip(&other).map(|(a, b)| b / a).collect();
    ratios.sort_unstable_by(f64::total_cmp);
    println!(
        "{what:<52} {:>7.1}/s against {:>7.1}/s; best {:.2}, median {:.2}",
        unit / best(&ours),
        unit / best(&other),
        best(&other) / best(&ours),
        ratios[ratios.len() / 2]
    );
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for threads in [1, 2] {
        let mut config = FastembedConfig::new(MODEL);
        config.threads = NonZeroUsize::new(threads);
        let embedder = FastembedEmbedder::new(config).unwrap();
        runtime.block_on(embedder.load()).unwrap();
        let mut model = direct(threads);

        let texts = texts(256);
        let borrowed: Vec<&str> = texts.iter().map(String::as_str).collect();
        let (mut ours, mut other) = (vec![], vec![]);
        for _ in 0..7 {
            let begun = Instant::now();
            runtime.block_on(embedder.embed_documents(&borrowed)).unwrap();
            ours.push(begun.elapsed());
            let begun = Instant::now();
            model.embed(&borrowed, Some(32)).unwrap();
            other.push(begun.elapsed());
        }
        let what = format!("256 texts, batches of 32, {threads} threads");
        report(&what, 256.0, &ours, &other);

        let (mut ours, mut other) = (vec![], vec![]);
        for text in &borrowed[..100] {
            let begun = Instant::now();
            runtime.block_on(embedder.embed_query(text)).unwrap();
            ours.push(begun.elapsed());
            let begun = Instant::now();
            model.embed([text], None).unwrap();
            other.push(begun.elapsed());
        }
        report(&format!("a text alone, {threads} threads"), 1.0, &ours, &other);
    }
}
