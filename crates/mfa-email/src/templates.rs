//! The texts of mails in each language.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

use minijinja::{AutoEscape, Environment, UndefinedBehavior, context};
use thiserror::Error;
use zeroize::Zeroizing;

mod check;

/// The templates of this crate, as `NAME.LANGUAGE.PART`.
const BUILT_IN: [(&str, &str); 6] = [
    ("code.de.html", include_str!("templates/code.de.html")),
    ("code.de.subject", include_str!("templates/code.de.subject")),
    ("code.de.txt", include_str!("templates/code.de.txt")),
    ("code.en.html", include_str!("templates/code.en.html")),
    ("code.en.subject", include_str!("templates/code.en.subject")),
    ("code.en.txt", include_str!("templates/code.en.txt")),
];

/// The parts of a mail.
const PARTS: [&str; 3] = ["subject", "txt", "html"];

/// The texts of mails: templates (Jinja) for subject, plain-text part and HTML part in each language.
///
/// This crate has them in English (`en`) and German (`de`). [`read`](Self::read) reads others from a folder.
pub struct Templates {
    environment: Environment<'static>,
    languages: BTreeSet<String>,
}

/// Templates that cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InvalidTemplates {
    /// The folder or a file in it cannot be read.
    #[error("{file} cannot be read")]
    Unreadable {
        /// The folder or file.
        file: String,
        /// The cause.
        source: io::Error,
    },
    /// The file name is not that of a template.
    #[error(
        "{file} is not the name of a template; use code.LANGUAGE.subject, code.LANGUAGE.txt or code.LANGUAGE.html"
    )]
    Name {
        /// The file.
        file: String,
    },
    /// The file is not a valid template, or uses an unknown placeholder.
    #[error("{file}, line {line}: {reason}")]
    Syntax {
        /// The file.
        file: String,
        /// The line, from 1.
        line: usize,
        /// The cause.
        reason: String,
    },
    /// A language lacks a part.
    #[error("{file} is missing")]
    Missing {
        /// The missing file.
        file: String,
    },
    /// A mail from this template would not serve its purpose.
    #[error("{file}: {reason}")]
    Unfit {
        /// The file.
        file: String,
        /// The cause.
        reason: String,
    },
}

/// The values of the placeholders.
#[derive(Clone, Copy)]
pub(crate) struct Values<'a> {
    pub(crate) code: &'a str,
    pub(crate) minutes: u64,
    /// `verify`, `enrol`, `change` or `recover`.
    pub(crate) purpose: &'a str,
    pub(crate) service: &'a str,
}

/// A mail in one language. Each part contains the code.
pub(crate) struct Rendered {
    pub(crate) subject: Zeroizing<String>,
    pub(crate) text: Zeroizing<String>,
    pub(crate) html: Zeroizing<String>,
}

impl Templates {
    /// The templates of this crate.
    ///
    /// # Errors
    /// Never; a test of this crate ensures it.
    pub fn built_in() -> Result<Self, InvalidTemplates> {
        Self::new(BUILT_IN.map(|(name, source)| (name.to_owned(), source.to_owned())).into())
    }

    /// Reads the templates of a folder. Those of this crate replace the ones that it lacks.
    ///
    /// A file is named `code.LANGUAGE.PART`, with a language such as `fr` or `pt-BR`, and the part `subject`,
    /// `txt` or `html`. It may use `code`, `minutes` (how long the code is valid, rounded down: 0 or more),
    /// `service` (the name of the service) and `purpose` (`verify`, `enrol`).
    ///
    /// # Errors
    /// [`InvalidTemplates`] with the file that cannot be used.
    pub fn read(folder: &Path) -> Result<Self, InvalidTemplates> {
        let unreadable =
            |file: &Path, source| InvalidTemplates::Unreadable { file: file.display().to_string(), source };
        let mut sources: BTreeMap<String, String> =
            BUILT_IN.map(|(name, source)| (name.to_owned(), source.to_owned())).into();
        for entry in fs::read_dir(folder).map_err(|error| unreadable(folder, error))? {
            let path = entry.map_err(|error| unreadable(folder, error))?.path();
            let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if file.starts_with('.') {
                continue;
            }
            if parse_name(&file).is_none() {
                return Err(InvalidTemplates::Name { file });
            }
            let source = fs::read_to_string(&path).map_err(|error| unreadable(&path, error))?;
            sources.insert(file, source);
        }
        Self::new(sources)
    }

    fn new(sources: BTreeMap<String, String>) -> Result<Self, InvalidTemplates> {
        let languages: BTreeSet<String> =
            sources.keys().filter_map(|name| Some(parse_name(name)?.0.to_owned())).collect();
        for language in &languages {
            for part in PARTS {
                let file = format!("code.{language}.{part}");
                if !sources.contains_key(&file) {
                    return Err(InvalidTemplates::Missing { file });
                }
            }
        }
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|name| match parse_name(name) {
            Some((_, "html")) => AutoEscape::Html,
            _ => AutoEscape::None,
        });
        for (name, source) in sources {
            environment.add_template_owned(name.clone(), source).map_err(|error| syntax(&name, &error))?;
        }
        let templates = Self { environment, languages };
        // A composer checks them again with the real name of the service.
        templates.check("Example")?;
        Ok(templates)
    }

    /// The languages with templates.
    pub fn languages(&self) -> impl Iterator<Item = &str> {
        self.languages.iter().map(String::as_str)
    }

    /// Renders the mail in `language`, which must be one of [`languages`](Self::languages).
    pub(crate) fn render(&self, language: &str, values: Values<'_>) -> Result<Rendered, InvalidTemplates> {
        let Values { code, minutes, purpose, service } = values;
        let part = |part: &str| {
            let name = format!("code.{language}.{part}");
            let template = self.environment.get_template(&name);
            let template = template.map_err(|_| InvalidTemplates::Missing { file: name.clone() })?;
            let rendered = template.render(context! { code, minutes, purpose, service });
            rendered.map(Zeroizing::new).map_err(|error| syntax(&name, &error))
        };
        let subject = Zeroizing::new(part("subject")?.trim().to_owned());
        Ok(Rendered { subject, text: part("txt")?, html: part("html")? })
    }
}

impl fmt::Debug for Templates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Templates").field("languages", &self.languages).finish_non_exhaustive()
    }
}

/// Splits a file name into language and part.
fn parse_name(file: &str) -> Option<(&str, &str)> {
    let (language, part) = file.strip_prefix("code.")?.split_once('.')?;
    let is_language = (2..=12).contains(&language.len())
        && language.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        && language.starts_with(|c: char| c.is_ascii_lowercase());
    (is_language && PARTS.contains(&part)).then_some((language, part))
}

/// Converts a template error, without the values that the template was given.
fn syntax(file: &str, error: &minijinja::Error) -> InvalidTemplates {
    let reason = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    InvalidTemplates::Syntax { file: file.to_owned(), line: error.line().unwrap_or(1), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values<'a>(service: &'a str, purpose: &'a str) -> Values<'a> {
        Values { code: "12345678", minutes: 10, purpose, service }
    }

    #[test]
    fn every_language_says_the_code_in_every_part() {
        let templates = Templates::built_in().unwrap();
        assert_eq!(templates.languages().collect::<Vec<_>>(), ["de", "en"]);
        let rendered = templates.render("en", values("A & B", "verify")).unwrap();
        assert_eq!(*rendered.subject, "12345678 is your code");
        assert!(
            rendered.text.starts_with("Your code for A & B:\n\n12345678\n\nIt works once, for 10 minutes.")
        );
        assert!(rendered.html.contains("Your code for A &amp; B:"), "{}", *rendered.html);
        let rendered = templates.render("de", values("Müller", "enrol")).unwrap();
        assert_eq!(*rendered.subject, "12345678 ist Ihr Code");
        assert!(
            rendered.text.starts_with("Ihr Code, um diese Adresse für Müller zu bestätigen:\n\n12345678\n\n")
        );
    }

    #[test]
    fn an_operators_file_takes_the_place_of_ours_and_adds_languages() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("code.en.subject", "{{ service }}: {{ code }}\n");
        for (part, text) in [
            ("subject", "{{ code }} est votre code"),
            ("txt", "Votre code :\n\n{{ code }}\n"),
            ("html", "<p>Votre code :</p><p>{{ code }}</p>"),
        ] {
            write(&format!("code.fr.{part}"), text);
        }
        write(".hidden~", "an editor's");
        let templates = Templates::read(folder.path()).unwrap();
        assert_eq!(templates.languages().collect::<Vec<_>>(), ["de", "en", "fr"]);
        assert_eq!(*templates.render("en", values("X", "verify")).unwrap().subject, "X: 12345678");
        assert_eq!(
            *templates.render("fr", values("X", "verify")).unwrap().subject,
            "12345678 est votre code"
        );
    }

    #[test]
    fn what_would_not_work_is_named_with_its_file_before_anything_is_sent() {
        for (name, text, error) in [
            ("mail.txt", "", "mail.txt is not the name of a template"),
            ("code.EN.txt", "", "code.EN.txt is not the name of a template"),
            ("code.fr.txt", "{{ code }}", "code.fr.subject is missing"),
            ("code.en.txt", "{{ code", "code.en.txt, line 1: "),
            ("code.en.txt", "\n\n{{ cod }}", "code.en.txt, line 3: "),
            (
                "code.en.txt",
                "Your code is {{ code }}.",
                "code.en.txt: must contain the code on a line of its own",
            ),
            ("code.en.subject", "a\nb", "code.en.subject: must be one line of at most 78 characters"),
            ("code.en.subject", "", "code.en.subject: must be one line of at most 78 characters"),
            ("code.en.html", "<p>123</p>", "code.en.html: must contain the code as one word"),
            (
                "code.en.html",
                "<p>{{ code[:4] }} {{ code[4:] }}</p>",
                "code.en.html: must contain the code as one word",
            ),
            (
                "code.en.html",
                "<p>{{ code }}</p><img src='https://example.com/'>",
                "code.en.html: must not contain links, scripts, forms, frames, pictures",
            ),
            (
                "code.en.html",
                "<p>{{ code }}</p>",
                "code.en.txt: must have about as many words as the HTML part",
            ),
        ] {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join(name), text).unwrap();
            let told = Templates::read(folder.path()).unwrap_err().to_string();
            assert!(told.starts_with(error), "{name}: {told}");
        }
        let told = Templates::read(Path::new("/nowhere")).unwrap_err().to_string();
        assert_eq!(told, "/nowhere cannot be read");
    }
}
