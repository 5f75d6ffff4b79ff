//! Lua scripts and their calls.

use redis::Cmd;

/// A script, and the hash under which a server knows it once it was sent.
pub(crate) struct Script {
    text: &'static str,
    hash: String,
}

/// A call of a script. All its keys are in one hash slot.
pub(crate) struct Call<'a> {
    script: &'a Script,
    keys: Vec<String>,
    arguments: Vec<Vec<u8>>,
}

impl Script {
    pub(crate) fn new(text: &'static str) -> Self {
        Self { text, hash: redis::Script::new(text).get_hash().to_owned() }
    }
}

impl<'a> Call<'a> {
    pub(crate) fn new(script: &'a Script, keys: impl IntoIterator<Item = String>) -> Self {
        Self { script, keys: keys.into_iter().collect(), arguments: Vec::new() }
    }

    pub(crate) fn push(&mut self, argument: impl Into<Vec<u8>>) {
        self.arguments.push(argument.into());
    }

    pub(crate) fn with(mut self, argument: impl Into<Vec<u8>>) -> Self {
        self.push(argument);
        self
    }

    /// A key that selects the server of all keys.
    pub(crate) fn key(&self) -> &str {
        self.keys.first().map_or("", String::as_str)
    }

    /// The command that calls the script by its hash, or sends its whole text if `whole`.
    pub(crate) fn command(&self, whole: bool) -> Cmd {
        let mut command = redis::cmd(if whole { "EVAL" } else { "EVALSHA" });
        command.arg(if whole { self.script.text } else { self.script.hash.as_str() });
        command.arg(self.keys.len()).arg(&self.keys).arg(&self.arguments);
        command
    }
}
