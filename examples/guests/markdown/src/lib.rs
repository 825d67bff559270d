//! Converts untrusted Markdown to HTML that is safe to embed.
//!
//! CommonMark with tables, strikethrough, footnotes and task lists. HTML in the text is shown as
//! text. Links and images may have web, mail and relative addresses; every other address, above all `javascript:`, is
//! replaced by an empty one. Names of anchors begin with `note-`, so that they do not conflict with names of the
//! surrounding page.

use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, TagEnd, html};

/// Converts the text to HTML.
#[wpc::function]
fn markdown_to_html(text: &str) -> String {
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_TASKLISTS;
    // HTML is about 1.5 times as long as its Markdown.
    let mut page = String::with_capacity(text.len() * 3 / 2);
    html::push_html(&mut page, Parser::new_ext(text, options).map(harmless));
    page
}

/// Replaces what could do harm in a page.
fn harmless(event: Event<'_>) -> Event<'_> {
    match event {
        // As text it is escaped.
        Event::Html(html) | Event::InlineHtml(html) => Event::Text(html),
        Event::Start(Tag::HtmlBlock) => Event::Start(Tag::Paragraph),
        Event::End(TagEnd::HtmlBlock) => Event::End(TagEnd::Paragraph),
        Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
            Event::Start(Tag::Link { link_type, dest_url: allowed(dest_url), title, id })
        }
        Event::Start(Tag::Image { link_type, dest_url, title, id }) => {
            Event::Start(Tag::Image { link_type, dest_url: allowed(dest_url), title, id })
        }
        Event::Start(Tag::FootnoteDefinition(label)) => {
            Event::Start(Tag::FootnoteDefinition(anchor(&label)))
        }
        Event::FootnoteReference(label) => Event::FootnoteReference(anchor(&label)),
        other => other,
    }
}

/// The address, or an empty one if its scheme is not one of the harmless ones.
fn allowed(address: CowStr<'_>) -> CowStr<'_> {
    // A colon after `/`, `?` or `#` belongs to a relative address. A browser may treat any text before
    // another colon as a scheme, so only known schemes are allowed.
    let first = address.find([':', '/', '?', '#']);
    let scheme = first.filter(|at| address[*at..].starts_with(':')).map(|at| &address[..at]);
    let is_harmless = scheme.is_none_or(|scheme| {
        ["http", "https", "mailto"].iter().any(|known| scheme.eq_ignore_ascii_case(known))
    });
    if is_harmless { address } else { CowStr::Borrowed("") }
}

fn anchor<'a>(label: &str) -> CowStr<'a> {
    format!("note-{label}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(markdown: &str, html: &str) {
        assert_eq!(markdown_to_html(markdown), html);
    }

    #[test]
    fn the_extensions_are_on() {
        check("~~old~~ **new**", "<p><del>old</del> <strong>new</strong></p>\n");
        check(
            "|a|b|\n|-|-:|\n|1|2|",
            "<table><thead><tr><th>a</th><th style=\"text-align: right\">b</th></tr></thead><tbody>\n\
             <tr><td>1</td><td style=\"text-align: right\">2</td></tr>\n</tbody></table>\n",
        );
        let tasks = markdown_to_html("- [x] done\n- [ ] open");
        assert_eq!(tasks.matches("type=\"checkbox\"").count(), 2, "{tasks}");
    }

    #[test]
    fn html_is_shown_as_text() {
        check("<script>alert(1)</script>", "<p>&lt;script&gt;alert(1)&lt;/script&gt;</p>\n");
        check("a <b onclick=x>", "<p>a &lt;b onclick=x&gt;</p>\n");
        check("`<i>` &lt;i&gt;", "<p><code>&lt;i&gt;</code> &lt;i&gt;</p>\n");
    }

    #[test]
    fn only_harmless_addresses_stay() {
        for harmless in [
            "https://example.org/a?b=c:d",
            "HTTP://example.org",
            "mailto:a@example.org",
            "a/b:c",
            "#x",
            "?a:b",
            "x",
        ] {
            check(&format!("[t]({harmless})"), &format!("<p><a href=\"{harmless}\">t</a></p>\n"));
        }
        for harmful in [
            "javascript:alert(1)",
            "JavaScript:alert(1)",
            "java&#115;cript&colon;alert(1)",
            "&#1;javascript:alert(1)",
            "java&#10;script:alert(1)",
            "data:text/html,x",
            "vbscript:x",
            ":x",
        ] {
            check(&format!("[t]({harmful})"), "<p><a href=\"\">t</a></p>\n");
            check(&format!("![t]({harmful})"), "<p><img src=\"\" alt=\"t\" /></p>\n");
        }
        let automatic = markdown_to_html("<javascript:alert(1)>");
        assert!(automatic.contains("href=\"\""), "{automatic}");
    }

    #[test]
    fn attributes_cannot_be_left() {
        let html = markdown_to_html("[t](x \"\\\"><script>\")\n\n```a\"><script>\ncode\n```");
        assert!(!html.contains("<script"), "{html}");
    }

    #[test]
    fn footnotes_cannot_take_names_of_the_page() {
        let html = markdown_to_html("a[^login]\n\n[^login]: b");
        assert!(
            html.contains("href=\"#note-login\"") && html.contains("id=\"note-login\""),
            "{html}"
        );
    }
}
