//! Checks of templates before the first mail is sent.

use lettre::message::Mailbox;
use mfa_domain::{Address, Timestamp};

use super::{InvalidTemplates, Rendered, Templates, Values};
use crate::message::Mail;
use crate::recipient::Recipient;

/// A code of the greatest length.
const CODE: &str = "3141592653";

/// The maximum ratio between the numbers of words in the text and HTML parts. Spam filters penalise larger
/// differences.
const MAX_WORDS_RATIO: usize = 2;

/// Elements that mail programs follow, fetch, run or let the reader fill in.
const ACTIVE: [&str; 22] = [
    "a", "applet", "area", "audio", "base", "button", "embed", "form", "frame", "iframe", "image", "img",
    "input", "link", "math", "object", "picture", "script", "select", "svg", "textarea", "video",
];

/// Texts that make a mail program fetch something, anywhere in the HTML part.
const FETCHED: [&str; 6] = ["http:", "https:", "//", "src=", "url(", "@import"];

/// The name of the service when the HTML part is searched for links. The real name may look like a link, such
/// as `https://shop.example`; it is escaped.
const NEUTRAL: &str = "Example";

impl Templates {
    /// Checks the mails of that service in every language.
    pub(crate) fn check(&self, service: &str) -> Result<(), InvalidTemplates> {
        for language in &self.languages {
            for purpose in ["verify", "enrol"] {
                for minutes in [0, 1, 10] {
                    let values = Values { code: CODE, minutes, purpose, service };
                    let neutral = self.render(language, Values { service: NEUTRAL, ..values })?;
                    check(language, self.render(language, values)?, &neutral.html)?;
                }
            }
        }
        Ok(())
    }
}

/// Checks a mail. `neutral` is its HTML part with a neutral name, to be searched for links.
fn check(language: &str, mail: Rendered, neutral: &str) -> Result<(), InvalidTemplates> {
    let unfit = |part: &str, reason: String| {
        Err(InvalidTemplates::Unfit { file: format!("code.{language}.{part}"), reason })
    };
    let unless =
        |holds: bool, part: &str, reason: &str| if holds { Ok(()) } else { unfit(part, reason.to_owned()) };
    let Rendered { subject, text, html } = &mail;
    let is_one_line = !subject.is_empty() && !subject.chars().any(char::is_control);
    unless(
        is_one_line && subject.chars().count() <= 78,
        "subject",
        "must be one line of at most 78 characters, including a ten-digit code and the name of the service",
    )?;
    unless(text.lines().any(|line| line == CODE), "txt", "must contain the code on a line of its own")?;
    unless(words_of_html(html).contains(&CODE), "html", "must contain the code as one word")?;
    let first = text.lines().find(|line| !line.trim().is_empty());
    unless(
        subject.contains(CODE) || first == Some(CODE),
        "txt",
        "must begin with the code unless the subject contains it, since mail programs list subject and first line",
    )?;
    if let Some(found) = find_active(neutral) {
        let reason = format!(
            "must not contain links, scripts, forms, frames, pictures or other active or remote content, since \
             mail programs warn about or remove it; found `{found}`"
        );
        return unfit("html", reason);
    }
    let (plain, marked) = (text.split_whitespace().count(), words_of_html(html).len());
    let is_alike = plain <= MAX_WORDS_RATIO * marked && marked <= MAX_WORDS_RATIO * plain;
    unless(
        is_alike,
        "txt",
        "must have about as many words as the HTML part, since spam filters penalise a difference",
    )?;
    let [in_subject, in_text, in_html] = [subject, text, html].map(|part| part.matches(CODE).count());
    let raw = Raw::of(mail);
    unless(
        raw.subject == in_subject,
        "subject",
        "must contain the code as one word, since words with letters beyond ASCII are encoded",
    )?;
    unless(raw.text == in_text, "txt", "the encoding of the mail splits the code")?;
    unless(
        raw.html == in_html,
        "html",
        "the encoding of the mail splits the code; move it near the beginning of its line",
    )
}

/// How often each encoded part of a mail contains the code unchanged.
#[derive(Default)]
struct Raw {
    subject: usize,
    text: usize,
    html: usize,
}

impl Raw {
    fn of(mail: Rendered) -> Self {
        let Some(mail) = compose(mail) else { return Self::default() };
        let raw = String::from_utf8_lossy(&mail.bytes);
        let (header, body) = raw.split_once("\r\n\r\n").unwrap_or((&*raw, ""));
        let mut lines = header.lines().skip_while(|line| !line.starts_with("Subject:"));
        let first = lines.next();
        let subject = first.into_iter().chain(lines.take_while(|line| line.starts_with([' ', '\t'])));
        let (text, html) = body.split_once("Content-Type: text/html").unwrap_or((body, ""));
        Self {
            subject: subject.map(|line| line.matches(CODE).count()).sum(),
            text: text.matches(CODE).count(),
            html: html.matches(CODE).count(),
        }
    }
}

/// Composes the mail with any sender and recipient, which do not change how the rest is encoded.
fn compose(text: Rendered) -> Option<Mail> {
    let from: Mailbox = "mfa@example.com".parse().ok()?;
    let to = Recipient::of(&Address::new("eve@example.com").ok()?).ok()?;
    Mail::new(&from, &to, text, Timestamp::from_unix_seconds(0), "check").ok()
}

/// The words that a reader sees, as spam filters count them.
fn words_of_html(html: &str) -> Vec<&str> {
    let body = html.find("<body").map_or(html, |at| &html[at..]);
    let texts = body.split('<').filter_map(|piece| Some(piece.split_once('>')?.1));
    texts.flat_map(str::split_whitespace).collect()
}

/// Finds content that a mail program would follow, fetch, run or let the reader fill in. It detects mistakes,
/// not attacks: templates come from the operator.
fn find_active(html: &str) -> Option<String> {
    let html = without_namespaces(&without_comments(&html.to_ascii_lowercase()));
    if let Some(text) = FETCHED.iter().find(|text| html.contains(**text)) {
        return Some((*text).to_owned());
    }
    let mut tags = html.split('<').skip(1).map(|piece| piece.split('>').next().unwrap_or(piece));
    tags.find_map(|tag| {
        let end = tag.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(tag.len());
        let (name, attributes) = tag.split_at(end);
        if ACTIVE.contains(&name) {
            Some(format!("<{name}"))
        } else if attributes.contains("http-equiv") && attributes.contains("refresh") {
            Some("http-equiv=refresh".to_owned())
        } else {
            find_handler(attributes)
        }
    })
}

/// The text without doctype and comments, whose addresses nothing fetches. The content of conditional
/// comments stays, since Outlook shows it.
fn without_comments(html: &str) -> String {
    let (mut kept, mut rest) = (String::with_capacity(html.len()), html);
    while let Some((before, declaration)) = rest.split_once("<!") {
        let is_comment = declaration.starts_with("--") && !declaration.starts_with("--[if");
        let end = if is_comment { "-->" } else { ">" };
        let Some((_, after)) = declaration.split_once(end) else { break };
        kept.push_str(before);
        rest = after;
    }
    kept + rest
}

/// The text without `xmlns="…"` and `xmlns:x="…"`, which are names and not links.
fn without_namespaces(html: &str) -> String {
    let (mut kept, mut rest) = (String::with_capacity(html.len()), html);
    while let Some((before, after)) = rest.split_once("xmlns") {
        kept.push_str(before);
        rest = after_namespace(after).unwrap_or(after);
    }
    kept + rest
}

/// The text after the quoted value of an `xmlns` attribute, if there is one.
fn after_namespace(attribute: &str) -> Option<&str> {
    let (prefix, value) = attribute.split_once('=')?;
    let prefix = prefix.trim_end();
    let is_prefix = prefix.is_empty() || prefix.strip_prefix(':').is_some_and(is_word);
    let value = value.trim_start();
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let (_, rest) = value[1..].split_once(quote)?;
    is_prefix.then_some(rest)
}

fn is_word(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

/// The first event handler among the attributes, such as `onclick`.
fn find_handler(attributes: &str) -> Option<String> {
    attributes.match_indices("on").find_map(|(at, on)| {
        let begins = |c: char| c.is_ascii_whitespace() || matches!(c, '"' | '\'' | '/');
        let event = &attributes[at + on.len()..];
        let value = event.trim_start_matches(|c: char| c.is_ascii_alphabetic());
        let is_handler = attributes[..at].ends_with(begins)
            && value.len() < event.len()
            && value.trim_start().starts_with('=');
        is_handler.then(|| format!("{on}{}", &event[..event.len() - value.len()]))
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::composer::Composer;

    /// The error for these files in addition to the built-in ones, with a service of that name.
    fn told(service: &str, files: &[(&str, &str)]) -> Result<(), String> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let templates = Templates::read(folder.path()).map_err(|error| error.to_string())?;
        let service = Some(service.to_owned());
        let composer = Composer::new("mfa@example.com", service, "en".to_owned(), Some(templates));
        composer.map(drop).map_err(|error| error.to_string())
    }

    /// Phones and mail programs detect the code in the text that they show; people search for it in the
    /// source.
    #[test]
    fn no_encoding_hides_or_divides_a_code_of_ten_digits() {
        let rest = " word".repeat(20);
        // A line of quoted-printable has 75 bytes; 66 precede the code here.
        let divided = format!("<p>{}ab {{{{ code }}}}{rest}</p>", "word ".repeat(12));
        let twice = format!("<p>{{{{ code }}}}</p>\n{divided}");
        let whole = format!("<p>{}ab</p>\n<p>{{{{ code }}}}{rest}</p>", "word ".repeat(12));
        for (name, text, wrong) in [
            ("code.en.html", &*divided, Some("code.en.html: the encoding of the mail splits the code")),
            ("code.en.html", &*whole, None),
            ("code.en.html", &*twice, Some("code.en.html: the encoding of the mail splits the code")),
            (
                "code.de.subject",
                "Käsehaus:{{ code }}",
                Some("code.de.subject: must contain the code as one word"),
            ),
            ("code.de.subject", "Käsehaus: {{ code }}", None),
            ("code.en.subject", "{{ service }}:{{ code }}", None),
        ] {
            let told = told("Example", &[(name, text)]).err().unwrap_or_default();
            assert!(wrong.map_or(told.is_empty(), |wrong| told.starts_with(wrong)), "{name} {text}: {told}");
        }
    }

    /// By default, lettre encodes a text as base64 if most of its letters are beyond ASCII.
    #[test]
    fn a_language_in_another_script_keeps_its_code_readable() {
        let files = [
            ("code.ru.subject", "{{ code }} — ваш код"),
            (
                "code.ru.txt",
                "Ваш код для входа в {{ service }}:\n\n{{ code }}\n\nОн действует {{ minutes }} мин.\n",
            ),
            (
                "code.ru.html",
                "<p>Ваш код для входа в {{ service }}:</p>\n<p>{{ code }}</p>\n<p>Он действует {{ minutes }} мин.</p>",
            ),
        ];
        assert_eq!(told("Пример", &files), Ok(()));
    }

    #[test]
    fn the_real_name_of_the_service_counts() {
        let subject = [("code.en.subject", "{{ service }} {{ code }}")];
        assert_eq!(told(&"x".repeat(67), &subject), Ok(()));
        let wrong = told(&"x".repeat(68), &subject).unwrap_err();
        assert!(wrong.starts_with("code.en.subject: must be one line of at most 78 characters"), "{wrong}");
        assert_eq!(told("Käsehaus", &subject), Ok(()));
        let wrong = told("Käsehaus", &[("code.en.subject", "{{ service }}:{{ code }}")]).unwrap_err();
        assert!(wrong.starts_with("code.en.subject: must contain the code as one word"), "{wrong}");
        // The built-in templates work with every name that the configuration accepts.
        for service in [
            "x".repeat(256),
            "ä ".repeat(85),
            "A & B <c> \"d\" // e".to_owned(),
            "https://shop.example".to_owned(),
        ] {
            assert_eq!(told(&service, &[]), Ok(()), "{service}");
        }
    }

    #[test]
    fn the_code_stands_where_lists_of_mails_show_it() {
        let subject = ("code.en.subject", "Your code");
        let wrong = told("Example", &[subject]).unwrap_err();
        assert!(
            wrong.starts_with("code.en.txt: must begin with the code unless the subject contains it"),
            "{wrong}"
        );
        let rest = "word ".repeat(40);
        let text = format!("{{{{ code }}}}\n\n{rest}");
        assert_eq!(told("Example", &[subject, ("code.en.txt", &text)]), Ok(()));
    }

    #[test]
    fn nothing_in_a_mail_is_followed_fetched_or_run() {
        for active in [
            "<a href='x'>here</a>",
            "<A\nHREF=x>here</A>",
            "<link rel=stylesheet href=x>",
            "<meta http-equiv='refresh' content='0'>",
            "<META content=0 HTTP-EQUIV = Refresh>",
            "<!--[if mso]><img alt=x><![endif]-->",
            "<!--><img alt=x><!-- x -->",
            "<!-- never ends <img alt=x>",
            "<p xmlns=\"x\" title='https://example.com'>x</p>",
            "<object data=x></object>",
            "<svg/onload=x>",
            "<img alt=x>",
            "<script>x</script>",
            "<p onclick='x'>here</p>",
            "<p class=\"x\"onmouseover = x>here</p>",
            "<p style='background: url(x)'>here</p>",
            "<style>@import 'x'</style>",
            "Go to https://example.com",
            "<body background='//example.com/x'>",
        ] {
            assert!(find_active(active).is_some(), "{active}");
        }
        for still in [
            "<!DOCTYPE html><html lang=en><head><meta charset='utf-8'><title>x</title></head><body style='color: #000'>",
            "<p style='font: 1em x'>On one = two, <b>on</b> / once</p><br/><address>x</address>",
            "<table content=on><tr><td align='center'>x</td></tr></table>",
            "<html xmlns=\"http://www.w3.org/1999/xhtml\" xmlns:o='urn:x//y' lang=en>",
            "<!DOCTYPE html PUBLIC \"-//W3C//DTD XHTML 1.0 Transitional//EN\" \
             \"http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd\">",
            "<meta http-equiv=\"Content-Type\" content=\"text/html; charset=utf-8\">",
            "<meta http-equiv=\"X-UA-Compatible\" content=\"IE=edge\">",
            "<!-- // see https://example.com, <a href=x> --><p>x</p><!-- // -->",
        ] {
            assert_eq!(find_active(still), None, "{still}");
        }
        for (active, found) in [
            ("<p>Go to HTTPS://example.com</p>", "https:"),
            ("<A HREF=x>here</A>", "<a"),
            ("<p onclick='x'>here</p>", "onclick"),
            ("<meta http-equiv=\"refresh\">", "http-equiv=refresh"),
        ] {
            assert_eq!(find_active(active).as_deref(), Some(found), "{active}");
        }
    }
}
