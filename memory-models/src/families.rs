//! What is known of families of models by their names.

/// What a family of models wants written before a query and before a document, from their cards.
pub(crate) fn prefixes(model: &str) -> (&'static str, &'static str) {
    const ENGLISH: &str = "Represent this sentence for searching relevant passages: ";
    let model = model.to_ascii_lowercase();
    let is = |family: &str| model.contains(family);
    if is("-e5-") {
        ("query: ", "passage: ")
    } else if is("nomic-embed-text") || is("modernbert-embed") {
        ("search_query: ", "search_document: ")
    } else if is("embeddinggemma") {
        ("task: search result | query: ", "title: none | text: ")
    } else if is("mxbai-embed") || is("snowflake-arctic-embed") || (is("bge-") && is("-en-")) {
        (ENGLISH, "")
    } else if is("bge-") && is("-zh-") {
        ("为这个句子生成表示以用于检索相关文章：", "")
    } else {
        ("", "")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_have_their_prefixes() {
        assert_eq!(prefixes("intfloat/multilingual-e5-small").0, "query: ");
        assert_eq!(prefixes("sentence-transformers/all-MiniLM-L6-v2"), ("", ""));
        assert!(prefixes("BAAI/bge-small-en-v1.5").0.starts_with("Represent"));
        assert_eq!(prefixes("BAAI/bge-m3"), ("", ""));
        assert_eq!(prefixes("text-embedding-3-small"), ("", ""));
    }
}
