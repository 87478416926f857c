//! Fills templates: the only place where text becomes markup.
//!
//! Never takes a text for markup. Invariant: whatever is put in as [`Slot::Text`] is shown as it is, in an element or in a
//! double-quoted attribute; what is put in is never searched for slots again. Next: `pages` are filled with it.

/// Markup that is safe to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Html(String);

/// What goes into a `{{slot}}`.
pub(super) enum Slot<'a> {
    /// Text, to be escaped.
    Text(&'a str),
    /// Markup made here.
    Markup(Html),
    /// Markup that stands in this repository.
    Own(&'static str),
}

impl Html {
    /// The markup.
    pub(super) fn into_string(self) -> String {
        self.0
    }

    /// Pieces one after the other.
    pub(super) fn joined(pieces: impl IntoIterator<Item = Self>) -> Self {
        Self(pieces.into_iter().map(Self::into_string).collect())
    }
}

/// Fills the `{{slots}}` of a template; one that is not named stays empty.
pub(super) fn fill(template: &'static str, slots: &[(&str, Slot<'_>)]) -> Html {
    let mut out = String::with_capacity(template.len() * 2);
    let mut rest = template;
    while let Some((before, (name, after))) =
        rest.split_once("{{").and_then(|(before, rest)| Some((before, rest.split_once("}}")?)))
    {
        out.push_str(before);
        match slots.iter().find(|(slot, _)| *slot == name) {
            Some((_, Slot::Text(text))) => escape(text, &mut out),
            Some((_, Slot::Markup(html))) => out.push_str(&html.0),
            Some((_, Slot::Own(markup))) => out.push_str(markup),
            None => {}
        }
        rest = after;
    }
    out.push_str(rest);
    Html(out)
}

/// Escapes for element and attribute; control characters, which HTML does not allow, are left out.
fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filled(text: &str) -> String {
        let template = "<p title=\"{{x}}\">{{x}}</p>{{y}}";
        fill(template, &[("x", Slot::Text(text))]).into_string()
    }

    #[test]
    fn text_is_shown_as_it_is() {
        let told = filled("<b>\"x\" & 'y'</b>\n{{x}}");
        let shown = "&lt;b&gt;&quot;x&quot; &amp; &#39;y&#39;&lt;/b&gt;{{x}}";
        assert_eq!(told, format!("<p title=\"{shown}\">{shown}</p>"));
    }

    proptest! {
        #[test]
        fn no_text_breaks_out_of_its_place(text in any::<String>()) {
            let told = filled(&text);
            let inner = told.strip_prefix("<p title=\"").unwrap().strip_suffix("</p>").unwrap();
            let (attribute, element) = inner.split_once("\">").unwrap();
            prop_assert_eq!(attribute, element);
            prop_assert!(!element.contains(['<', '>', '"', '\'']));
        }
    }
}
