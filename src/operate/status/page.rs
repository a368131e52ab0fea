//! The page of the node: one file, with all that it needs. From the daemon it listens for news; as a file it shows
//! what was when it was made.

/// All but what is shown.
const PAGE: &str = include_str!("page.html");

/// Where that is put.
const PLACE: &str = "@STATUS@";

/// The page, which shows `json`.
pub(super) fn html(json: &str) -> String {
    // What hardware says of itself cannot end the element: in JSON, a character may be written so wherever this one is.
    PAGE.replacen(PLACE, &json.replace('<', "\\u003c"), 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hardware_says_cannot_leave_its_element() {
        let json = r#"{"id":"</script><script>alert(1)</script><!--@STATUS@"}"#;
        let page = html(json);
        assert_eq!(page.matches("</script>").count(), 2, "its own two");
        assert!(page.contains(r#"{"id":"\u003c/script>"#));
        // No other page, script, picture or font is asked for.
        for foreign in ["https://", "http://", "src=", "@import", "url("] {
            assert!(!PAGE.contains(foreign), "{foreign}");
        }
    }
}
