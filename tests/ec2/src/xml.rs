//! Replies as a tree, so that the proxy can change what moto says.

use quick_xml::{
    Reader,
    escape::{escape, unescape},
    events::Event,
};

/// An element: text, or other elements.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Element {
    /// Its name, with attributes.
    tag: String,
    /// Text in it, without what escapes it.
    pub text: String,
    /// Elements in it.
    pub children: Vec<Element>,
}

impl Element {
    /// An element with text.
    pub fn leaf(name: &str, text: impl Into<String>) -> Self {
        Self { tag: name.into(), text: text.into(), children: vec![] }
    }

    /// An element with elements.
    pub fn node(name: &str, children: Vec<Self>) -> Self {
        Self { tag: name.into(), text: String::new(), children }
    }

    /// The element that a document consists of.
    ///
    /// # Errors
    /// It is not XML.
    pub fn parse(document: &[u8]) -> Result<Self, String> {
        let wrong = |e: &dyn std::fmt::Display| format!("not XML: {e}");
        let mut reader = Reader::from_str(std::str::from_utf8(document).map_err(|e| wrong(&e))?);
        let mut open = vec![Self::default()];
        loop {
            let event = reader.read_event().map_err(|e| wrong(&e))?;
            let (element, empty) = match &event {
                Event::Eof => break,
                Event::Start(start) => (Some(start), false),
                Event::Empty(start) => (Some(start), true),
                _ => (None, false),
            };
            if let Some(start) = element {
                open.push(Self { tag: start.trim_end().to_owned(), ..Self::default() });
            }
            let top = open.len() - 1;
            match event {
                Event::Text(ref text) => open[top].text += &unescape(text).map_err(|e| wrong(&e))?,
                Event::GeneralRef(ref name) => {
                    open[top].text += &unescape(&format!("&{};", &**name)).map_err(|e| wrong(&e))?;
                }
                Event::CData(ref text) => open[top].text += text,
                _ => {}
            }
            if empty || matches!(event, Event::End(_)) {
                let mut done = open.pop().unwrap_or_default();
                if !done.children.is_empty() {
                    done.text.clear();
                }
                open.last_mut().ok_or("not XML: an end without a start")?.children.push(done);
            }
        }
        let [root] = &mut open[..] else { return Err("not XML: it ends too early".into()) };
        root.children.pop().ok_or_else(|| "not XML: empty".into())
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.tag.split_whitespace().next().unwrap_or_default()
    }

    /// The first element of this name in it.
    pub fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name() == name)
    }

    /// As `child`.
    pub fn child_mut(&mut self, name: &str) -> Option<&mut Self> {
        self.children.iter_mut().find(|child| child.name() == name)
    }

    /// Text of the first element of this name in it; empty if there is none.
    pub fn get(&self, name: &str) -> &str {
        self.child(name).map_or("", |child| &child.text)
    }

    /// Elements `item` of the set of this name.
    pub fn items(&self, set: &str) -> &[Self] {
        self.child(set).map_or(&[], |set| &set.children)
    }

    /// Gives the first element of this name that text, or adds one.
    pub fn set(&mut self, name: &str, text: impl Into<String>) {
        let made = Self::leaf(name, text);
        match self.child_mut(name) {
            Some(child) => *child = made,
            None => self.children.push(made),
        }
    }

    /// Takes all elements of this name out of it.
    pub fn remove(&mut self, name: &str) {
        self.children.retain(|child| child.name() != name);
    }

    /// Tags of a volume or a snapshot.
    pub fn tag(&self, key: &str) -> Option<&str> {
        self.items("tagSet").iter().find(|tag| tag.get("key") == key).map(|tag| tag.get("value"))
    }

    /// As a document.
    pub fn write(&self) -> Vec<u8> {
        let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        self.write_to(&mut out);
        out.into_bytes()
    }

    fn write_to(&self, out: &mut String) {
        *out += &format!("<{}>", self.tag);
        *out += &escape(&self.text);
        for child in &self.children {
            child.write_to(out);
        }
        *out += &format!("</{}>", self.name());
    }
}

#[cfg(test)]
mod tests {
    use super::Element;

    #[test]
    fn what_is_written_is_read_again() {
        let text =
            r#"<?xml version="1.0"?><A xmlns="x"><b>1 &lt;2 &#38; &amp;3</b><set><item><c/></item></set><d/></A>"#;
        let mut tree = Element::parse(text.as_bytes()).unwrap();
        assert_eq!((tree.name(), tree.get("b"), tree.items("set").len()), ("A", "1 <2 & &3", 1));
        assert_eq!(Element::parse(&tree.write()).unwrap(), tree);
        tree.set("b", "&");
        tree.set("e", "new");
        tree.remove("d");
        let again = Element::parse(&tree.write()).unwrap();
        assert_eq!((again.get("b"), again.get("e"), again.child("d")), ("&", "new", None));
    }

    #[test]
    fn what_is_no_xml_is_an_error() {
        for text in ["", "text", "<a>", "<a></b>", "<a>&nothing;</a>", "</a>"] {
            assert!(Element::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
