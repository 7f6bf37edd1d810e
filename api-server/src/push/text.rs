//! Title and body of a notification, cut to what a screen shows and FCM takes.

use std::fmt;

use shared_types::UserId;
use unicode_segmentation::UnicodeSegmentation;

const BODY_CHARACTERS: usize = 200;
// A character (grapheme cluster) has no upper size, FCM's payload has: 4,096 bytes for everything. As JSON counts them.
const BODY_BYTES: usize = 1_000;
const TITLE_CHARACTERS: usize = 100;
const TITLE_BYTES: usize = 250;
const ELLIPSIS: char = '…';

/// What a notification shows. Can only be made cut, and prints nothing of itself.
#[derive(Clone, PartialEq, Eq)]
pub struct PushText {
    title: String,
    body: String,
}

impl PushText {
    /// Title: the channel's name, or the sender where there is none; body: the content.
    pub fn showing(channel_name: Option<&str>, sender_id: &UserId, content: &str) -> Self {
        Self { title: title(channel_name, sender_id), body: cut(content, BODY_CHARACTERS, BODY_BYTES) }
    }

    /// For deployments where no content may pass through Google and Apple or stand on a lock screen. The content is
    /// not even an argument. The title stays: it says where or from whom, never what; and `data` names the
    /// channel and the sender in any case, without which the app could not open the right conversation.
    pub fn hiding(channel_name: Option<&str>, sender_id: &UserId) -> Self {
        Self { title: title(channel_name, sender_id), body: "New message".to_owned() }
    }

    /// For several messages at once: how many, and nothing of them, whether content is hidden or not.
    pub fn counting(channel_name: Option<&str>, sender_id: &UserId, messages: i64) -> Self {
        Self { title: title(channel_name, sender_id), body: format!("{messages} new messages") }
    }

    pub fn title(&self) -> &str {
        &self.title
    }

    pub fn body(&self) -> &str {
        &self.body
    }

    /// The body with `excess` bytes less of JSON, for a payload that is still too big.
    pub(super) fn body_shortened_by(&self, excess: usize) -> String {
        cut(&self.body, BODY_CHARACTERS + 1, bytes_in_json(&self.body).saturating_sub(excess))
    }
}

impl fmt::Debug for PushText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PushText(***)")
    }
}

fn title(channel_name: Option<&str>, sender_id: &UserId) -> String {
    let name = channel_name.map(str::trim).filter(|name| !name.is_empty());
    cut(name.unwrap_or(sender_id.as_str()), TITLE_CHARACTERS, TITLE_BYTES)
}

/// The first `max_characters` grapheme clusters, in at most `max_bytes` with the ellipsis that stands for the rest.
fn cut(text: &str, max_characters: usize, max_bytes: usize) -> String {
    let end_of_characters = text.grapheme_indices(true).nth(max_characters).map_or(text.len(), |(at, _)| at);
    if end_of_characters == text.len() && bytes_in_json(text) <= max_bytes {
        return text.to_owned();
    }
    let room = max_bytes.saturating_sub(ELLIPSIS.len_utf8());
    let mut used = 0;
    let mut kept = String::new();
    for cluster in text[..end_of_characters].graphemes(true) {
        used += bytes_in_json(cluster);
        if used > room {
            break;
        }
        kept.push_str(cluster);
    }
    kept.truncate(kept.trim_end().len());
    kept.push(ELLIPSIS);
    kept
}

/// What a text takes in the payload: a quotation mark is two bytes there, a control character up to six.
fn bytes_in_json(text: &str) -> usize {
    text.bytes()
        .map(|byte| match byte {
            b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
            0..0x20 => 6,
            _ => 1,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sender() -> UserId {
        "alice".parse().unwrap()
    }

    fn body_of(content: &str) -> String {
        PushText::showing(None, &sender(), content).body().to_owned()
    }

    #[test]
    fn the_title_is_the_channels_name_or_else_the_sender() {
        assert_eq!(PushText::showing(Some("Ferry crew"), &sender(), "x").title(), "Ferry crew");
        assert_eq!(PushText::showing(None, &sender(), "x").title(), "alice");
        assert_eq!(PushText::showing(Some("  "), &sender(), "x").title(), "alice");
        assert_eq!(PushText::showing(Some(&"n".repeat(300)), &sender(), "x").title(), "n".repeat(100) + "…");
    }

    #[test]
    fn content_of_200_characters_is_shown_whole_and_201_are_cut_with_an_ellipsis() {
        assert_eq!(body_of(&"가".repeat(200)), "가".repeat(200));
        assert_eq!(body_of(&"가".repeat(201)), "가".repeat(200) + "…");
        assert_eq!(body_of("hello"), "hello");
        assert_eq!(body_of(""), "");
    }

    #[test]
    fn a_character_of_many_code_points_counts_once_and_is_never_split() {
        let (flag, accented) = ("🇰🇷", "e\u{301}");
        assert_eq!(body_of(&flag.repeat(201)), flag.repeat(124) + "…", "8 bytes each: 997 bytes hold 124");
        assert_eq!(body_of(&accented.repeat(201)), accented.repeat(200) + "…");
    }

    #[test]
    fn long_clusters_are_bounded_in_bytes() {
        let family = "👨‍👩‍👧‍👦";
        let body = body_of(&family.repeat(200));
        assert!(body.len() <= BODY_BYTES);
        assert_eq!(body, family.repeat((BODY_BYTES - 3) / family.len()) + "…");
        let tower = format!("a{}", "\u{301}".repeat(2_000));
        assert_eq!(body_of(&tower), "…", "one character bigger than all the room");
    }

    #[test]
    fn bytes_are_counted_as_json_writes_them() {
        for text in ["plain", "\"quoted\"", "back\\slash", "a\nb\tc\r", "\u{0}\u{8}\u{c}\u{1f}\u{7f}", "가🇰🇷"]
        {
            assert_eq!(bytes_in_json(text), serde_json::to_string(text).unwrap().len() - 2, "{text:?}");
        }
    }

    #[test]
    fn no_space_is_left_before_the_ellipsis() {
        assert_eq!(body_of(&format!("{} tail", "w".repeat(199))), "w".repeat(199) + "…");
    }

    #[test]
    fn a_hidden_text_says_only_that_there_is_a_message() {
        let text = PushText::hiding(Some("Ferry crew"), &sender());
        assert_eq!((text.title(), text.body()), ("Ferry crew", "New message"));
    }

    #[test]
    fn several_messages_are_counted() {
        let text = PushText::counting(Some("Ferry crew"), &sender(), 3);
        assert_eq!((text.title(), text.body()), ("Ferry crew", "3 new messages"));
        assert_eq!(PushText::counting(None, &sender(), 2).title(), "alice");
    }

    #[test]
    fn a_text_prints_nothing_of_itself() {
        let printed = format!("{:?}", PushText::showing(Some("Ferry crew"), &sender(), "the secret"));
        assert_eq!(printed, "PushText(***)");
    }
}
