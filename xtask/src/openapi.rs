//! Writes and validates the OpenAPI document that is checked in.

use anyhow::Result;

use crate::run::{cargo, command, run};
use crate::tools;

/// The path of the document.
const DOCUMENT: &str = "docs/openapi.json";

/// Regenerates the document from the code.
pub(crate) fn write() -> Result<()> {
    let test = "openapi::the_document_is_the_one_that_is_checked_in";
    let mut write = cargo(&["test", "--quiet", "-p", "mfa-actix", "--test", "all", test]);
    write.env("MFA_WRITE_OPENAPI", "1");
    run(write)
}

/// Validates the document with two independent validators.
pub(crate) fn validate() -> Result<()> {
    run(command(
        tools::folder().join("bin/openapi-spec-validator"),
        &["--validation-errors", "all", DOCUMENT],
    ))?;
    let mut second = command(tools::folder().join("bin/node"), &[]);
    second.arg(tools::openapi_validator().join("bin/validate-api-cli.js")).arg(DOCUMENT);
    run(second)
}
