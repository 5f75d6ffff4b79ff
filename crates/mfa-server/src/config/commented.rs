//! The configuration file with every option, its meaning and its default, commented out.

use std::fmt::{self, Write};

use toml::{Table, Value};

use super::meanings::{self, Meaning};
use super::{Settings, table_of};

/// Largest number of characters in a line of text.
const WIDTH: usize = 100;

const HEAD: &str = "\
Configuration of mfa-server. Every option is commented out and shows its default.

To set an option, remove the # before it and change the value. Variables and flags override this file: the variable of failures in \
[lockout] is MFA_LOCKOUT_FAILURES. `mfa-server config check` finds all errors.

A duration is a number and a unit: 500ms, 30s, 15m, 24h, 30d. Paths are relative to the working directory, unless stated otherwise.";

/// Prints the file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Commented;

impl fmt::Display for Commented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = table_of(&Settings::default());
        comment(f, HEAD)?;
        options(f, "", &table)?;
        for (name, value) in &table {
            if let Value::Table(inner) = value {
                f.write_char('\n')?;
                if let Some(meaning) = meanings::of(name) {
                    comment(f, meaning.what)?;
                }
                writeln!(f, "[{name}]")?;
                options(f, &format!("{name}."), inner)?;
            }
        }
        webhook(f)
    }
}

/// The options of a table, without those of its inner tables.
fn options(f: &mut fmt::Formatter<'_>, prefix: &str, table: &Table) -> fmt::Result {
    let plain = table.iter().filter(|(name, value)| !value.is_table() && *name != "webhook");
    for (name, default) in plain {
        f.write_char('\n')?;
        let meaning = meanings::of(&format!("{prefix}{name}"));
        if let Some(meaning) = meaning {
            explain(f, meaning)?;
        }
        match meaning.and_then(|meaning| meaning.example) {
            Some(example) => writeln!(f, "#{name} = {example}")?,
            None => writeln!(f, "#{name} = {default}")?,
        }
    }
    Ok(())
}

/// An example webhook, as there is none by default.
fn webhook(f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_char('\n')?;
    if let Some(meaning) = meanings::of("webhook") {
        comment(f, meaning.what)?;
    }
    f.write_str("#[[webhook]]\n")?;
    for meaning in meanings::WEBHOOK {
        f.write_char('\n')?;
        explain(f, meaning)?;
        writeln!(f, "#{} = {}", meaning.key, meaning.example.unwrap_or_default())?;
    }
    Ok(())
}

fn explain(f: &mut fmt::Formatter<'_>, meaning: &Meaning) -> fmt::Result {
    comment(f, meaning.what)?;
    if meaning.allowed.is_empty() { Ok(()) } else { comment(f, &format!("Allowed: {}", meaning.allowed)) }
}

/// Writes paragraphs as comments, wrapped at [`WIDTH`].
fn comment(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    for paragraph in text.lines() {
        let mut line = String::from("#");
        for word in paragraph.split_whitespace() {
            if line.chars().count() + 1 + word.chars().count() > WIDTH {
                writeln!(f, "{line}")?;
                "#".clone_into(&mut line);
            }
            line.push(' ');
            line.push_str(word);
        }
        writeln!(f, "{line}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde::Deserialize;

    use super::super::keys::{flatten, set};
    use super::super::{Config, Flags, rules};
    use super::*;

    /// Loads a file.
    fn load(text: &str) -> Config {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mfa.toml");
        std::fs::write(&path, text).unwrap();
        let variables = std::iter::once(("MFA_CONFIG".into(), path.into_os_string()));
        Config::load(&Flags::default(), variables).unwrap()
    }

    /// The file with every option set.
    fn uncommented() -> String {
        let lines = Commented.to_string();
        let option = |line: &str| {
            let is_text = line == "#" || line.starts_with("# ");
            if is_text { String::new() } else { line.trim_start_matches('#').to_owned() }
        };
        lines.lines().map(|line| option(line) + "\n").collect()
    }

    #[test]
    fn every_option_is_explained_and_nothing_else_is() {
        let table = table_of(&Settings::default());
        let tables = table.iter().filter(|(_, value)| value.is_table()).map(|(name, _)| name.clone());
        let known: BTreeSet<_> = flatten(&table).into_iter().map(|(key, _)| key).chain(tables).collect();
        let explained: Vec<_> = meanings::MEANINGS.iter().map(|meaning| meaning.key.to_owned()).collect();
        assert_eq!(explained.iter().cloned().collect::<BTreeSet<_>>(), known);
        assert_eq!(explained.len(), known.len(), "one of them is explained twice");
        let long = |line: &&str| line.starts_with("# ") && line.len() > WIDTH;
        assert_eq!(Commented.to_string().lines().find(long), None);
    }

    #[test]
    fn as_it_is_it_changes_nothing_and_uncommented_it_sets_the_defaults() {
        let values = |config: &Config| {
            let mut table = table_of(&config.settings);
            table.remove("webhook");
            // This default depends on the machine.
            if let Some(argon2) = table.get_mut("argon2").and_then(Value::as_table_mut) {
                argon2.remove("concurrency");
            }
            table
        };
        let (shipped, full) = (load(&Commented.to_string()), load(&uncommented()));
        assert!(shipped.settings.webhook.is_empty() && !shipped.is_given("lockout.failures"));
        assert_eq!(values(&shipped), values(&full));
        assert!(full.is_given("lockout.failures") && full.is_given("audit.retention"));
        assert_eq!(full.settings.webhook[0].name.as_str(), "siem");
        let file: Table = uncommented().parse().unwrap();
        let fields = |table: &Table| {
            let webhook = table["webhook"][0].as_table().unwrap();
            webhook.keys().cloned().collect::<BTreeSet<_>>()
        };
        assert_eq!(fields(&file), fields(&table_of(&full.settings)));
    }

    #[test]
    fn the_ranges_are_those_that_are_enforced() {
        let defaults = table_of(&Settings::default());
        let mut compared = 0;
        for (key, _) in flatten(&defaults) {
            let numbers = [0, 255, 2_000_000_000].map(Value::Integer).into_iter();
            let durations = ["0d", "9999d"].map(|text| Value::String(text.to_owned()));
            for value in numbers.chain(durations) {
                let mut table = defaults.clone();
                set(&mut table, &key, value);
                let Ok(settings) = Settings::deserialize(table) else { continue };
                for broken in rules::broken(&settings).into_iter().filter(|broken| broken.key == key) {
                    let words: Vec<_> = broken.rule.split(' ').collect();
                    if matches!(words[..], [_, "to", _] | ["at", "least", _]) {
                        let allowed = meanings::of(&key).unwrap().allowed;
                        assert!(allowed.contains(broken.rule), "{key}: {allowed}, {}", broken.rule);
                        compared += 1;
                    }
                }
            }
        }
        assert!(compared > 40, "{compared}");
    }
}
