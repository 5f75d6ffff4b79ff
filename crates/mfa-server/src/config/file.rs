//! Reads the TOML file, with the line of every value.

use std::fs;
use std::path::Path;

use toml::de::DeTable;
use toml::{Table, Value};

use super::{Given, Source, environment};

/// Reads all values of a file.
pub(super) fn read(path: &Path) -> Result<Vec<Given>, String> {
    let text = fs::read_to_string(path).map_err(|error| {
        let shown = environment::file(&path.to_string_lossy()).to_owned();
        format!("{shown}: the configuration file cannot be read: {error}")
    })?;
    let invalid = |error: toml::de::Error| {
        let line = error.span().map_or(1, |span| line_of(&text, span.start));
        format!("{}, line {line}: {}", path.display(), error.message())
    };
    let places = DeTable::parse(&text).map_err(invalid)?;
    let values: Table = text.parse().map_err(invalid)?;
    let mut given = Vec::new();
    walk("", places.get_ref(), &values, &mut |key, value, offset| {
        let source = Source::File { path: path.to_owned(), line: line_of(&text, offset) };
        given.push(Given { key, value, source });
    });
    Ok(given)
}

fn walk(prefix: &str, places: &DeTable<'_>, values: &Table, found: &mut impl FnMut(String, Value, usize)) {
    for (name, place) in places {
        let Some(value) = values.get(name.get_ref().as_ref()) else { continue };
        let key = format!("{prefix}{}", name.get_ref());
        match (place.get_ref().as_table(), value) {
            (Some(places), Value::Table(values)) if !values.is_empty() => {
                walk(&format!("{key}."), places, values, found);
            }
            (Some(_), _) => {}
            (None, value) => found(key, value.clone(), name.span().start),
        }
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}
