//! Decisions and use cases from outside.

mod ahead;
mod given_again;
mod imports;
mod passkeys;
mod proofs;
mod relying_party;
mod repeats;
mod replays;
mod send;
mod sent_codes;
mod signing_keys;
mod two_codes;
mod use_cases;
