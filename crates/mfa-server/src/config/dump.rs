//! The effective configuration as TOML, with the source of each value in a comment.

use std::fmt::{self, Write};

use toml::{Table, Value};

use super::{Config, table_of};

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key_ring.is_some() {
            f.write_str("# MFA_KEY_RING is set in the environment, and not shown\n")?;
        }
        let table = table_of(&self.settings);
        self.section(f, "", &table)?;
        for (name, value) in &table {
            if let Value::Table(inner) = value {
                write!(f, "\n[{name}]\n")?;
                self.section(f, &format!("{name}."), inner)?;
            }
        }
        Ok(())
    }
}

impl Config {
    fn section(&self, f: &mut fmt::Formatter<'_>, prefix: &str, table: &Table) -> fmt::Result {
        for (name, value) in table.iter().filter(|(_, value)| !value.is_table()) {
            write!(f, "{name} = {value} # ")?;
            match self.sources.get(&format!("{prefix}{name}")) {
                Some(source) => write!(f, "{source}")?,
                None => f.write_str("default")?,
            }
            f.write_char('\n')?;
        }
        Ok(())
    }
}
