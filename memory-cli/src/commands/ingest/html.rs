//! HTML into Markdown, which keeps its headings, lists, tables and code.

use htmd::HtmlToMarkdown;
use memquill::{Error, Result};

/// The stack of the thread that converts, in bytes: the conversion goes as deep as the elements.
const STACK: usize = 64 << 20;
/// The deepest nesting of elements that this stack is enough for, with much to spare.
const DEEPEST: usize = 1_000;
/// What no reader of a page sees.
const SKIPPED: [&str; 7] = ["head", "script", "style", "noscript", "template", "svg", "iframe"];

/// A page.
pub(super) struct Page {
    pub(super) title: Option<String>,
    pub(super) markdown: String,
}

/// Reads a page.
pub(super) fn read(html: &str) -> Result<Page> {
    if deepest(html) > DEEPEST {
        return Err(Error::invalid_input(format!("the elements nest deeper than {DEEPEST}"))
            .with_hint("name a page that a browser shows"));
    }
    let unreadable = |why: String| {
        Error::invalid_input(format!("this HTML cannot be read: {why}"))
            .with_hint("save the page again, or as text")
    };
    std::thread::scope(|scope| {
        let convert = || {
            let converter = HtmlToMarkdown::builder().skip_tags(SKIPPED.to_vec()).build();
            let title = title(html).and_then(|title| converter.convert(title).ok());
            let title = title.map(|title| title.split_whitespace().collect::<Vec<_>>().join(" "));
            let markdown = converter.convert(html)?;
            Ok::<_, std::io::Error>(Page { title: title.filter(|t| !t.is_empty()), markdown })
        };
        let thread = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, convert);
        let joined = thread.map_err(|error| unreadable(error.to_string()))?.join();
        let page = joined.map_err(|_| unreadable("the conversion failed".to_owned()))?;
        page.map_err(|error| unreadable(error.to_string()))
    })
}

/// What stands in the first `title` element, as HTML.
fn title(html: &str) -> Option<&str> {
    let find = |text: &str, tag: &str| {
        text.as_bytes().windows(tag.len()).position(|w| w.eq_ignore_ascii_case(tag.as_bytes()))
    };
    let begin = find(html, "<title")?;
    let rest = &html[begin..];
    let rest = &rest[rest.find('>')? + 1..];
    Some(&rest[..find(rest, "</title")?])
}

/// At least as many elements as are ever open at once: those that stay open in a row count, too.
fn deepest(html: &str) -> usize {
    let (mut open, mut most) = (0_usize, 0);
    for tag in html.split('<').skip(1) {
        match tag.bytes().next() {
            Some(b'/') => open = open.saturating_sub(1),
            Some(first) if first.is_ascii_alphabetic() && !is_void(tag) => {
                open += 1;
                most = most.max(open);
            }
            _ => {}
        }
    }
    most
}

/// Whether an element has no end tag, or need not have one.
fn is_void(tag: &str) -> bool {
    const NAMES: [&str; 19] = [
        "br", "hr", "img", "input", "meta", "link", "area", "base", "col", "embed", "source",
        "track", "wbr", "li", "p", "td", "th", "tr", "option",
    ];
    let name: String = tag.chars().take_while(char::is_ascii_alphanumeric).collect();
    NAMES.iter().any(|void| name.eq_ignore_ascii_case(void))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_becomes_markdown_with_a_title() {
        let page = read(
            "<!DOCTYPE html><html><head><title>Tea &amp; more</title><style>p {}</style></head>\
             <body><script>evil()</script><h1>Tea</h1><p>Green <b>tea</b>.</p>\
             <pre><code>boil()\n</code></pre><table><tr><th>a</th><th>b</th></tr>\
             <tr><td>1</td><td>2</td></tr></table></body></html>",
        )
        .unwrap();
        assert_eq!(page.title.as_deref(), Some("Tea & more"));
        for part in ["# Tea", "Green **tea**.", "boil()", "| 1"] {
            assert!(page.markdown.contains(part), "{part} in {}", page.markdown);
        }
        for part in ["evil", "p {}", "<"] {
            assert!(!page.markdown.contains(part), "{part} in {}", page.markdown);
        }
    }

    #[test]
    fn deep_nesting_is_read_or_refused() {
        let nested = |depth: usize| format!("{}x{}", "<div>".repeat(depth), "</div>".repeat(depth));
        assert!(read(&nested(900)).unwrap().markdown.contains('x'));
        assert!(read(&nested(100_000)).is_err());
        assert!(read(&"<p>x".repeat(5_000)).is_ok());
    }
}
