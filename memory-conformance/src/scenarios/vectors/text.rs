//! V9: which records a text finds.

use memquill_core::text::{Language, query_words, terms};
use memquill_core::{Facet, NewRecord, QueryEmbedding};

use super::support::{HALF, Namespace, X, ids, record, sorted, text};
use crate::scenario::{Family, Test, scenarios};

scenarios! {
    facet: Some(Facet::Vectors), family: Family::Example;
    v9: a_text_finds_the_records_with_its_words [TextSearch];
    v9: any_of_the_words_suffices [TextSearch];
    v9: words_match_as_a_whole [TextSearch];
    v9: case_width_and_diacritics_do_not_matter [TextSearch];
    v9: scripts_without_spaces_match_by_pairs [TextSearch];
    v9: a_lone_character_finds_every_text_that_holds_it [TextSearch];
    v9: parts_of_joined_words_are_found_beside_the_whole [TextSearch];
    v9: whole_words_rank_before_their_parts [TextSearch];
    v9: invisible_characters_are_no_part_of_a_word [TextSearch];
    v9: repeated_characters_count [TextSearch];
    v9: operators_are_plain_words [TextSearch];
    v9: a_text_without_words_finds_nothing [TextSearch];
    v9: stems_match_where_a_language_is_given [TextSearch];
    v9: every_record_keeps_its_own_language [TextSearch];
    v9: common_words_are_words_too [TextSearch];
    v9: a_query_of_a_language_does_not_look_for_its_stop_words [TextSearch];
    v9: words_of_any_length_and_number_are_legal [TextSearch];
    v9: numbers_and_marks_are_words_as_the_analyzer_says [TextSearch];
    v9: hits_say_their_similarity_only_where_asked [TextSearch];
    v9: only_the_content_is_searched [TextSearch];
}

async fn library(test: &Test, records: &[(&str, &str)]) -> Namespace {
    let notes = Namespace::new(test);
    notes.store(records.iter().map(|(id, content)| text(id, content)).collect()).await;
    notes
}

async fn a_text_finds_the_records_with_its_words(test: Test) {
    let notes =
        library(&test, &[("cat", "The cat sat."), ("dog", "The dog ran!"), ("fox", "a fox")]).await;
    assert_eq!(notes.found("cat").await, ["cat"]);
    assert_eq!(sorted(notes.found("the").await), ["cat", "dog"]);
    assert_eq!(notes.found("wolf").await, [""; 0]);
}

async fn any_of_the_words_suffices(test: Test) {
    let notes =
        library(&test, &[("cat", "The cat sat."), ("dog", "The dog ran!"), ("fox", "a fox")]).await;
    assert_eq!(sorted(notes.found("a wolf, a cat and a dog").await), ["cat", "dog", "fox"]);
}

async fn words_match_as_a_whole(test: Test) {
    let notes = library(&test, &[("a", "concatenate"), ("b", "category"), ("c", "cat-like")]).await;
    assert_eq!(notes.found("cat").await, ["c"]);
    assert_eq!(notes.found("cate").await, [""; 0]);
    assert_eq!(notes.found("cat*").await, ["c"], "no prefix match");
}

async fn case_width_and_diacritics_do_not_matter(test: Test) {
    let notes = library(
        &test,
        &[
            ("cafe", "Crème brûlée"),
            ("street", "Große Straße"),
            ("wide", "Ｆｕｌｌ ｗｉｄｔｈ"),
            ("greek", "ΟΔΥΣΣΕΥΣ"),
            ("arabic", "كِتَابٌ"),
            ("decomposed", "re\u{301}sume\u{301}"),
            ("turkish", "İstanbul"),
        ],
    )
    .await;
    for (query, id) in [
        ("CREME brulee", "cafe"),
        ("STRASSE", "street"),
        ("full", "wide"),
        ("οδυσσευσ", "greek"),
        ("كتاب", "arabic"),
        ("Résumé", "decomposed"),
        ("istanbul", "turkish"),
    ] {
        assert_eq!(notes.found(query).await, [id], "{query}");
    }
}

async fn scripts_without_spaces_match_by_pairs(test: Test) {
    let notes = library(
        &test,
        &[
            ("tower", "我喜欢东京塔"),
            ("capital", "北京是首都"),
            ("kana", "コーヒーを飲む"),
            ("thai", "ภาษาไทย"),
            ("hangul", "한국어 문장"),
            ("year", "于2026年开业"),
        ],
    )
    .await;
    assert_eq!(notes.found("东京").await, ["tower"]);
    assert_eq!(notes.found("首都").await, ["capital"]);
    assert_eq!(notes.found("京东").await, [""; 0], "a pair has an order");
    assert_eq!(notes.found("コーヒー").await, ["kana"]);
    assert_eq!(notes.found("ไทย").await, ["thai"]);
    assert_eq!(notes.found("한국").await, ["hangul"]);
    assert_eq!(notes.found("2026").await, ["year"]);
}

async fn a_lone_character_finds_every_text_that_holds_it(test: Test) {
    let notes = library(
        &test,
        &[
            ("kana", "私は猫が好きです"),
            ("alone", "猫"),
            ("end", "白い子猫"),
            ("beside", "猫2匹とcat"),
            ("thai", "ฉันรักแมว"),
            ("hangul", "고양이를 좋아한다"),
            ("khmer", "ភាសាខ្មែរ"),
            ("chapter", "见第3章"),
            ("mark", "コーヒー"),
            ("dog", "犬と散歩した"),
        ],
    )
    .await;
    for (query, found) in [
        ("猫", &["alone", "beside", "end", "kana"][..]),
        ("犬", &["dog"]),
        ("ม", &["thai"]),
        ("고", &["hangul"]),
        ("ភ", &["khmer"]),
        ("章", &["chapter"]),
        ("第3章", &["chapter"]),
        ("ｺ", &["mark"]),
        ("猫 and 犬", &["alone", "beside", "dog", "end", "kana"]),
    ] {
        assert_eq!(sorted(notes.found(query).await), found, "{query}");
    }
}

async fn parts_of_joined_words_are_found_beside_the_whole(test: Test) {
    let notes = library(
        &test,
        &[
            ("snake", "the endpoint is get_user_profile"),
            ("dot", "upgrade node.js to v18.2.0"),
            ("camel", "call softLogout before HTTPServer2 stops"),
            ("acronym", "XMLHttpRequest is old"),
            ("file", "open report-2024_final.PDF now"),
            ("sentence", "The job finished.Then it ended"),
            ("mail", "write to alice@example.org about it"),
            ("url", "see https://docs.example.com/install/linux?x=1#top"),
            ("path", r"C:\repo\src\main.py was renamed"),
            ("number", "order ORD20240001 costs 1,299.00"),
            ("languages", "it is C++ and C# on .NET #Release"),
        ],
    )
    .await;
    for (query, id) in [
        ("get_user_profile", "snake"),
        ("profile", "snake"),
        ("User", "snake"),
        ("getUserProfile", "snake"),
        ("node", "dot"),
        ("node.js", "dot"),
        ("18.2.0", "dot"),
        ("V18", "dot"),
        ("logout", "camel"),
        ("soft_logout", "camel"),
        ("server", "camel"),
        ("httpserver2", "camel"),
        ("request", "acronym"),
        ("pdf", "file"),
        ("final", "file"),
        ("report-2024_final.pdf", "file"),
        ("then", "sentence"),
        ("finished", "sentence"),
        ("alice@example.org", "mail"),
        ("alice", "mail"),
        ("example.org", "mail"),
        ("linux", "url"),
        ("docs.example.com", "url"),
        ("main", "path"),
        ("main.py", "path"),
        ("20240001", "number"),
        ("1299", "number"),
        ("1,299.00", "number"),
        ("C++", "languages"),
        ("c#", "languages"),
        (".net", "languages"),
        ("net", "languages"),
        ("#release", "languages"),
        ("release", "languages"),
    ] {
        let found = notes.found(query).await;
        assert_eq!(found.first().map(String::as_str), Some(id), "{query} finds {found:?}");
    }
    assert_eq!(notes.found("prof").await, [""; 0], "a part is a word, not a prefix");
}

async fn whole_words_rank_before_their_parts(test: Test) {
    let notes = library(
        &test,
        &[
            ("a parts", "the node of a js tree is here"),
            ("b whole", "the node.js of a tree is here"),
            ("c other", "the user of an id is on a list"),
            ("d other", "the user_id of an item is on a list"),
            ("e other", "the C of a chord is here"),
            ("f other", "the C++ of a team is here"),
            ("g other", "CVE and 2024 and 1234 are here"),
            ("h other", "the flaw CVE-2024-1234 is here"),
        ],
    )
    .await;
    for (query, first) in [
        ("node.js", "b whole"),
        ("user_id", "d other"),
        ("C++", "f other"),
        ("CVE-2024-1234", "h other"),
    ] {
        let found = notes.found(query).await;
        assert_eq!(found.first().map(String::as_str), Some(first), "{query} finds {found:?}");
    }
    assert_eq!(notes.found("C++").await, ["f other"], "a lone letter is not looked for");
}

async fn invisible_characters_are_no_part_of_a_word(test: Test) {
    let notes = library(
        &test,
        &[
            ("hyphen", "co\u{AD}operate"),
            ("joiner", "می\u{200C}خواهم"),
            ("stretched", "كتــاب"),
            ("variant", "葛\u{E0100}飾区"),
        ],
    )
    .await;
    for (query, id) in [
        ("cooperate", "hyphen"),
        ("میخواهم", "joiner"),
        ("كتاب", "stretched"),
        ("葛飾", "variant"),
        ("葛", "variant"),
    ] {
        assert_eq!(notes.found(query).await, [id], "{query}");
    }
}

async fn repeated_characters_count(test: Test) {
    let notes =
        library(&test, &[("a once", "了一二三四"), ("b often", "了了了了了"), ("c", "五六")]).await;
    assert_eq!(notes.found("了").await, ["b often", "a once"]);
}

async fn operators_are_plain_words(test: Test) {
    let notes = library(&test, &[("a", "apple"), ("b", "banana"), ("op", "and or not near")]).await;
    for query in [
        "apple AND banana",
        "apple NOT banana",
        "apple -banana",
        "+apple +banana",
        "apple & banana",
        "apple & !banana",
        "apple <-> banana",
        "\"apple banana\"",
        "'apple' 'banana'",
        "NEAR(apple banana)",
        "content : apple banana",
        "{apple} : banana",
        "apple^2 banana~",
        "(apple | banana",
        "apple:* banana:*",
        "@content:{apple|banana}",
    ] {
        let found: Vec<String> =
            notes.found(query).await.into_iter().filter(|id| id != "op").collect();
        assert_eq!(sorted(found), ["a", "b"], "{query}");
    }
    assert_eq!(notes.found("NOT").await, ["op"]);
    assert_eq!(notes.found("AND OR").await, ["op"]);
}

async fn a_text_without_words_finds_nothing(test: Test) {
    let notes = library(&test, &[("a", "apple"), ("marks", "!!! *** %")]).await;
    for query in ["", " ", "\t\n", "*", "%", "\"", "\"\"", "!!!", "&|!", "🙂", "\u{200D}", "---"]
    {
        let result = notes.search_text(&notes.words(query)).await;
        assert_eq!((ids(&result), result.complete), (vec![], true), "{query:?}");
    }
    assert_eq!(notes.found("apple").await, ["a"]);
}

fn in_language(id: &str, content: &str, language: Language) -> NewRecord {
    NewRecord { language: Some(language), ..text(id, content) }
}

async fn stems_match_where_a_language_is_given(test: Test) {
    let notes = Namespace::new(&test);
    notes
        .store(vec![
            in_language("stemmed", "She was running in new shoes", Language::English),
            text("plain", "He is running"),
        ])
        .await;
    let mut request = notes.words("runs");
    request.language = Some(Language::English);
    assert_eq!(ids(&notes.search_text(&request).await), ["stemmed"]);
    assert_eq!(notes.found("running").await, ["plain"], "a query without a language is exact");
    request.text = "shoe".into();
    assert_eq!(ids(&notes.search_text(&request).await), ["stemmed"]);
}

async fn every_record_keeps_its_own_language(test: Test) {
    let notes = Namespace::new(&test);
    notes
        .store(vec![
            in_language("de", "Die Häuser am See", Language::German),
            in_language("ru", "Он читает книги", Language::Russian),
            in_language("en", "The houses by the sea", Language::English),
        ])
        .await;
    let request = |text: &str, language| {
        let mut request = notes.words(text);
        request.language = Some(language);
        request
    };
    let german = notes.search_text(&request("Häusern", Language::German)).await;
    assert_eq!(ids(&german), ["de"]);
    let russian = notes.search_text(&request("книгами", Language::Russian)).await;
    assert_eq!(ids(&russian), ["ru"]);
    for record in notes.scan(None, 10).await {
        assert_eq!(record.language.map(Language::code), Some(record.id.as_str()));
    }
}

async fn common_words_are_words_too(test: Test) {
    // Stop words of one language are names in another.
    let notes = library(&test, &[("who", "The Who"), ("it", "it is a"), ("die", "die")]).await;
    for (query, id) in [("who", "who"), ("a", "it"), ("it", "it"), ("die", "die")] {
        assert_eq!(notes.found(query).await, [id], "{query}");
    }
}

async fn a_query_of_a_language_does_not_look_for_its_stop_words(test: Test) {
    let notes = Namespace::new(&test);
    notes
        .store(vec![
            in_language("castle", "A castle stands on the hill", Language::English),
            in_language("band", "This is where the Who are", Language::English),
            text("plain", "where is the castle"),
        ])
        .await;
    let found = async |text: &str, language| {
        let mut request = notes.words(text);
        request.language = language;
        sorted(ids(&notes.search_text(&request).await))
    };
    let english = Some(Language::English);
    assert_eq!(found("Where is the hill?", english).await, ["castle"]);
    assert_eq!(found("Who are the", english).await, ["band", "castle", "plain"]);
    assert_eq!(found("where", english).await, ["band", "plain"], "stop words are indexed");
    assert_eq!(found("Where is the hill?", None).await, ["band", "castle", "plain"]);
    assert_eq!(found("who the Château", Some(Language::French)).await, ["band", "castle", "plain"]);
}

async fn words_of_any_length_and_number_are_legal(test: Test) {
    let notes = Namespace::new(&test);
    let long = "x".repeat(10_000);
    let many: Vec<String> = (0..5_000).map(|n| format!("w{n}")).collect();
    let many = many.join(" ");
    notes.store(vec![text("long", &long), text("many", &many), text("other", "other")]).await;
    assert_eq!(notes.found(&long).await, ["long"]);
    assert_eq!(notes.found("w4999").await, ["many"]);
    assert_eq!(notes.found(&many).await, ["many"], "a long query");
}

async fn numbers_and_marks_are_words_as_the_analyzer_says(test: Test) {
    let contents = [
        "3.14 and 1,000",
        "don't stop",
        "C++ and C#",
        "foo_bar",
        "user@example.com",
        "a.b.c",
        "x-y",
        "१२३ हिन्दी",
        "½ cup",
        "2nd",
        "naïve 🙂 smile",
        "O'Reilly",
        "e-mail",
        "U.S.A.",
    ];
    let notes = Namespace::new(&test);
    let records: Vec<NewRecord> = contents.iter().map(|content| text(content, content)).collect();
    notes.store(records).await;
    for query in contents {
        let words = query_words(query, None);
        let expected = contents.into_iter().filter(|content| {
            let terms = terms(content, None).frequencies;
            words.iter().any(|word| terms.contains_key(word))
        });
        let expected = sorted(expected.map(String::from).collect());
        assert_eq!(sorted(notes.found(query).await), expected, "{query}");
    }
}

async fn hits_say_their_similarity_only_where_asked(test: Test) {
    let notes = Namespace::new(&test);
    notes.store(vec![record("a", X), record("b", HALF)]).await;
    let mut request = notes.words("common");
    assert!(notes.search_text(&request).await.hits.iter().all(|hit| hit.similarity.is_none()));
    request.similarity_to = Some(QueryEmbedding {
        space: notes.space.clone(),
        embedding: X.into(),
        min_similarity: None,
    });
    let hits = notes.search_text(&request).await.hits;
    let similarities: Vec<f32> = hits.iter().map(|hit| hit.similarity.unwrap()).collect();
    assert!(
        (similarities[0] - 1.0).abs() < 2e-4 && (similarities[1] - 0.5).abs() < 2e-4,
        "{similarities:?}"
    );
    assert!(hits.iter().all(|hit| hit.score > 0.0 && hit.record.embedding.is_none()));
}

async fn only_the_content_is_searched(test: Test) {
    let notes = Namespace::new(&test);
    let mut hidden = text("needle", "hay");
    hidden.document_type = "needle".into();
    hidden.metadata.insert("needle".into(), "needle".into());
    notes.store(vec![hidden, text("b", "a needle")]).await;
    assert_eq!(notes.found("needle").await, ["b"]);
}
