//! The one form on a page, read without a browser engine.
//!
//! Understands what our own pages use: `form`, `input`, `textarea` without content, `button`. Anything else on the page is passed over.
//! Next: [`super::Browser::submit`].

use anyhow::{Result, bail, ensure};

/// A form and the fields it comes with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    /// Where it goes, as written.
    pub action: String,
    /// Whether its method is POST.
    pub is_post: bool,
    /// Fields sent without anyone touching them: texts, hidden ones, checked boxes.
    pub fields: Vec<(String, String)>,
    /// Buttons with a name, and what each sends.
    pub buttons: Vec<(String, String)>,
}

impl Form {
    /// The only form of a page.
    ///
    /// # Errors
    /// There is none, more than one, or it does not end.
    pub fn only(html: &str) -> Result<Self> {
        let lower = html.to_ascii_lowercase();
        let starts: Vec<usize> = lower.match_indices("<form").map(|(at, _)| at).collect();
        let [start] = starts[..] else { bail!("{} forms instead of one", starts.len()) };
        let Some(length) = lower[start..].find("</form") else { bail!("the form does not end") };
        let mut tags = Tags(&html[start..start + length]);
        let Some(head) = tags.next() else { bail!("the form has no head") };
        let mut form = Self {
            action: head.value("action").unwrap_or_default(),
            is_post: head.value("method").is_some_and(|method| method.eq_ignore_ascii_case("post")),
            fields: Vec::new(),
            buttons: Vec::new(),
        };
        tags.for_each(|tag| form.take(&tag));
        ensure!(form.fields.len() + form.buttons.len() <= 256, "too many fields");
        Ok(form)
    }

    /// The form's fields with `over` put over them, urlencoded. A field put over replaces all of that name.
    pub fn filled(&self, over: &[(&str, &str)]) -> String {
        let own =
            self.fields.iter().filter(|(name, _)| over.iter().all(|(other, _)| other != name));
        let own = own.map(|(name, value)| (name.as_str(), value.as_str()));
        url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(own)
            .extend_pairs(over)
            .finish()
    }

    fn take(&mut self, tag: &Tag) {
        let Some(name) = tag.value("name") else { return };
        let value = tag.value("value");
        let kind = tag.value("type").unwrap_or_default().to_ascii_lowercase();
        match (tag.name.as_str(), kind.as_str()) {
            ("button", _) | ("input", "submit") => {
                self.buttons.push((name, value.unwrap_or_default()));
            }
            ("input", "radio" | "checkbox") if tag.value("checked").is_none() => {}
            ("input", "checkbox") => {
                self.fields.push((name, value.unwrap_or_else(|| "on".to_owned())));
            }
            ("input" | "textarea", _) => self.fields.push((name, value.unwrap_or_default())),
            _ => {}
        }
    }
}

struct Tag {
    name: String,
    attributes: Vec<(String, String)>,
}

impl Tag {
    fn value(&self, name: &str) -> Option<String> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone())
    }
}

/// The opening tags of a text, one after the other.
struct Tags<'t>(&'t str);

impl Iterator for Tags<'_> {
    type Item = Tag;

    fn next(&mut self) -> Option<Tag> {
        loop {
            let (_, rest) = self.0.split_once('<')?;
            self.0 = rest;
            if rest.starts_with(|first: char| first.is_ascii_alphabetic()) {
                let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
                let (name, rest) = rest.split_at(end);
                let (attributes, rest) = attributes(rest);
                self.0 = rest;
                return Some(Tag { name: name.to_ascii_lowercase(), attributes });
            }
        }
    }
}

fn attributes(mut text: &str) -> (Vec<(String, String)>, &str) {
    let mut found = Vec::new();
    loop {
        text = text.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '/');
        if let Some(rest) = text.strip_prefix('>') {
            return (found, rest);
        }
        let end =
            text.find(|c: char| c.is_ascii_whitespace() || "=>/".contains(c)).unwrap_or(text.len());
        if end == 0 {
            return (found, text.get(1..).unwrap_or_default());
        }
        let (name, rest) = text.split_at(end);
        let (value, rest) = rest.strip_prefix('=').map_or((String::new(), rest), value);
        found.push((name.to_ascii_lowercase(), value));
        text = rest;
    }
}

fn value(text: &str) -> (String, &str) {
    let (raw, rest) = match text.chars().next() {
        Some(quote @ ('"' | '\'')) => text[1..].split_once(quote).unwrap_or((&text[1..], "")),
        _ => text.split_at(
            text.find(|c: char| c.is_ascii_whitespace() || c == '>').unwrap_or(text.len()),
        ),
    };
    let plain =
        raw.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#39;", "'");
    (plain.replace("&#x27;", "'").replace("&amp;", "&"), rest)
}

#[cfg(test)]
mod tests {
    use super::Form;

    #[test]
    fn a_form_is_filled_over_its_own_fields() {
        let html = "<p>x<form method=post action='/go?a=1&amp;b=2'><input type=hidden name=k value=\"a&amp;b\">\
                    <input type=radio name=r value=1><input type=radio name=r value=2 checked>\
                    <button name=\"d\" value=\"yes\">Yes</button></form>";
        let form = Form::only(html).unwrap();
        assert_eq!(form.action, "/go?a=1&b=2");
        assert!(form.is_post);
        assert_eq!(form.filled(&[("r", "1"), ("d", "yes")]), "k=a%26b&r=1&d=yes");
    }

    #[test]
    fn two_forms_are_one_too_many() {
        assert!(Form::only("<form></form><form></form>").is_err());
    }
}
