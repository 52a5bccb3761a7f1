//! The callers of the service: their tokens, and what each of them may do.

use std::path::Path;

use tonic::{Request, Status, codegen::http::HeaderMap};

use crate::config::{self, ConfigFile, Role};
use thornwall_settings::token::{Token, TokenError};

/// All callers.
#[derive(Debug)]
pub(crate) struct Callers(Vec<Caller>);

#[derive(Debug)]
struct Caller {
    name: String,
    token: Token,
    roles: Vec<Role>,
}

impl Callers {
    /// Reads the tokens of a configuration, and makes those that are not there. Where it names
    /// no caller, there is one with full access, with `sidecar.token` in `data_dir`.
    pub(crate) fn build(file: &ConfigFile, data_dir: &Path) -> Result<Self, TokenError> {
        let callers = &file.config.caller;
        if callers.is_empty() {
            return Ok(Self(vec![Caller {
                name: "gateway".to_owned(),
                token: Token::read_or_make(&data_dir.join("sidecar.token"))?,
                roles: vec![Role::Assess, Role::Operate, Role::Watch],
            }]));
        }
        let made = callers.iter().map(|caller: &config::Caller| {
            Ok(Caller {
                name: caller.name.get_ref().clone(),
                token: Token::read_or_make(&file.resolve(&caller.token_file))?,
                roles: caller.roles.clone(),
            })
        });
        Ok(Self(made.collect::<Result<_, _>>()?))
    }

    /// The name of the caller whose token a call brings.
    pub(crate) fn known(&self, headers: &HeaderMap) -> Result<&str, Status> {
        self.caller(headers).map(|caller| caller.name.as_str())
    }

    fn caller(&self, headers: &HeaderMap) -> Result<&Caller, Status> {
        let sent = headers.get("authorization");
        let token = sent
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "))
            .ok_or_else(|| Status::unauthenticated("expected `authorization: Bearer TOKEN`"))?;
        let caller = self.0.iter().find(|caller| caller.token.is(token));
        caller.ok_or_else(|| Status::unauthenticated("nobody's token"))
    }

    /// The name of the caller, if it has the role.
    pub(crate) fn admit<T>(&self, request: &Request<T>, role: Role) -> Result<&str, Status> {
        let caller = self.caller(request.metadata().as_ref())?;
        if !caller.roles.contains(&role) {
            let what = format!("{} has not the role `{}`", caller.name, role.name());
            return Err(Status::permission_denied(what));
        }
        Ok(&caller.name)
    }
}
