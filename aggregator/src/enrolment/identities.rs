//! The service `Identities`, for operators: who has joined, and who may.

use starling_authority::{
    Signer,
    register::{Enrolled, Hex, TOKENS_MAX, Token, TokenId},
};
use starling_proto::{hex, ids::NodeId, v1};
use starling_service::{
    enrolment::Reason,
    grpc::{identities_client::IdentitiesClient, identities_server},
    identity::Role,
};
use tonic::{Request, Response, Status};
use tracing::info;

use super::{
    author,
    service::{EnrolmentService, shortened},
};

/// Identities of one answer.
const PAGE: usize = 1_000;
/// How long a token may be valid, seconds.
const TTL: (u32, u32) = (60, 2_592_000);
/// How many may join by one.
const USES: (u32, u32) = (1, 100_000);

#[tonic::async_trait]
impl identities_server::Identities for EnrolmentService {
    async fn create_token(&self, request: Request<v1::CreateTokenRequest>) -> Result<Response<v1::JoinToken>, Status> {
        let Some(signing) = &self.0.signing else {
            let said = request.get_ref().author.clone();
            let passed = self.pass_on(&request, &said, |channel, request| async move {
                IdentitiesClient::new(channel).create_token(request).await
            });
            return Ok(Response::new(passed.await?));
        };
        let author = author::of(&request, &request.get_ref().author);
        let asked = request.into_inner();
        let role = Role::parse(&asked.role).filter(|role| *role != Role::Operator);
        let role = role.ok_or_else(|| {
            Status::invalid_argument(format!(
                "role: {:?} does not join; wanted: node, aggregator, dashboard",
                shortened(&asked.role)
            ))
        })?;
        let within = |name: &str, value: u32, (least, most): (u32, u32)| {
            let wanted = || Status::invalid_argument(format!("{name}: {value} is not within {least} to {most}"));
            (least..=most).contains(&value).then_some(value).ok_or_else(wanted)
        };
        let ttl = within("ttl_s", asked.ttl_s, TTL)?;
        let uses = within("uses", asked.uses, USES)?;
        let root = signing.root();
        let (token, made) = signing
            .with(move |signer, now| {
                let token = Token {
                    secret: [0; 32],
                    role,
                    created: now,
                    expires: now + u64::from(ttl),
                    uses,
                    used: 0,
                    replace: asked.replace,
                    author,
                    revoked: 0,
                };
                signer.make_token(token, root)
            })
            .await?;
        info!(token = token.name(), role = %made.role, author = made.author, uses, "join token made");
        let status = Some(token_status(&Hex(token.id), &made));
        Ok(Response::new(v1::JoinToken { token: token.reveal(), status }))
    }

    async fn list_tokens(&self, request: Request<v1::ListTokensRequest>) -> Result<Response<v1::JoinTokens>, Status> {
        let Some(signing) = &self.0.signing else {
            let passed = self.pass_on(&request, "", |channel, request| async move {
                IdentitiesClient::new(channel).list_tokens(request).await
            });
            return Ok(Response::new(passed.await?));
        };
        let list = |signer: &mut Signer, _| {
            let mut tokens: Vec<_> = signer.register().tokens().map(|(id, token)| token_status(id, token)).collect();
            tokens.sort_by_key(|token| std::cmp::Reverse(token.created_unix_s));
            tokens.truncate(TOKENS_MAX);
            Ok(tokens)
        };
        Ok(Response::new(v1::JoinTokens { tokens: signing.with(list).await? }))
    }

    async fn revoke_token(
        &self,
        request: Request<v1::RevokeTokenRequest>,
    ) -> Result<Response<v1::RevokeTokenResponse>, Status> {
        let Some(signing) = &self.0.signing else {
            let passed = self.pass_on(&request, "", |channel, request| async move {
                IdentitiesClient::new(channel).revoke_token(request).await
            });
            return Ok(Response::new(passed.await?));
        };
        let author = author::of(&request, "");
        let text = request.into_inner().token_id;
        let id = TokenId::parse(&text);
        let id = id.ok_or_else(|| Status::invalid_argument("token_id: wanted are 16 hexadecimal digits"))?;
        if !signing.with(move |signer, now| signer.revoke_token(id, now)).await? {
            return Err(Status::not_found(format!("token_id: there is no token {id}")));
        }
        info!(token = %id, author, "join token revoked");
        Ok(Response::new(v1::RevokeTokenResponse {}))
    }

    async fn list_identities(
        &self,
        request: Request<v1::ListIdentitiesRequest>,
    ) -> Result<Response<v1::IdentityList>, Status> {
        let Some(signing) = &self.0.signing else {
            let passed = self.pass_on(&request, "", |channel, request| async move {
                IdentitiesClient::new(channel).list_identities(request).await
            });
            return Ok(Response::new(passed.await?));
        };
        let asked = request.into_inner();
        let list = move |signer: &mut Signer, _| {
            let mut all: Vec<_> = signer.register().enrolled().map(|(_, one)| one.clone()).collect();
            all.retain(|one| asked.roles.is_empty() || asked.roles.iter().any(|role| role == one.role.as_str()));
            all.sort_by_cached_key(|one| (format!("{} {}", one.role, one.name), one.joined));
            all.retain(|one| format!("{} {}", one.role, one.name) > asked.after);
            // The same name twice is never parted.
            let more = all.len() > PAGE;
            if more {
                let last = all.get(PAGE).map(|one| (one.role, one.name.clone()));
                let end = all.iter().position(|one| Some((one.role, one.name.clone())) == last).unwrap_or(PAGE);
                all.truncate(if end == 0 { PAGE } else { end.min(PAGE) });
            }
            Ok((all, more))
        };
        let (all, more) = signing.with(list).await?;
        Ok(Response::new(v1::IdentityList { identities: all.iter().map(identity).collect(), more }))
    }

    async fn remove_identity(
        &self,
        request: Request<v1::RemoveIdentityRequest>,
    ) -> Result<Response<v1::RemoveIdentityResponse>, Status> {
        let Some(signing) = &self.0.signing else {
            let said = request.get_ref().author.clone();
            let passed = self.pass_on(&request, &said, |channel, request| async move {
                IdentitiesClient::new(channel).remove_identity(request).await
            });
            return Ok(Response::new(passed.await?));
        };
        let author = author::of(&request, &request.get_ref().author);
        let asked = request.into_inner();
        let role = Role::parse(&asked.role)
            .ok_or_else(|| Status::invalid_argument(format!("role: {:?} is no role", shortened(&asked.role))))?;
        let name = NodeId::parse(&asked.name).map_err(|error| Status::invalid_argument(format!("name: {error}")))?;
        let (who, by) = (name.clone(), author.clone());
        let Some(ends) = signing.with(move |signer, now| signer.remove(role, &who, &by, now)).await? else {
            let next = "one whose certificate was copied by hand is refused by a line in tls.revoked";
            return Err(Status::not_found(format!("name: no {role} {name} has joined; {next}")));
        };
        self.0.refuse_removed(signing).await;
        info!(%role, %name, author, "identity removed");
        Ok(Response::new(v1::RemoveIdentityResponse { ends_unix_s: i64::try_from(ends).unwrap_or(i64::MAX) }))
    }

    async fn forget_node(
        &self,
        request: Request<v1::ForgetNodeRequest>,
    ) -> Result<Response<v1::ForgetNodeResponse>, Status> {
        let author = author::of(&request, &request.get_ref().author);
        let name = request.into_inner().name;
        let name = NodeId::parse(&name).map_err(|error| Status::invalid_argument(format!("name: {error}")))?;
        if self.0.is_node_alive(&name) {
            return Err(Status::failed_precondition(format!("node {name} reports: stop its daemon first")));
        }
        let Some(last_tick) = self.0.forget(&name).await? else {
            return Err(Status::not_found(format!("name: no node {name} has reported in the last 15 minutes")));
        };
        info!(%name, author, last_tick, "node is gone: not expected any more");
        Ok(Response::new(v1::ForgetNodeResponse { last_tick }))
    }

    async fn list_removed(&self, _: Request<v1::ListRemovedRequest>) -> Result<Response<v1::RemovedList>, Status> {
        let signing =
            self.0.signing.as_ref().ok_or_else(|| Reason::NobodySigns.status("this aggregator does not sign"))?;
        let removed = signing.with(|signer, now| Ok(signer.removed(now))).await?;
        let removed = removed.into_iter().map(|(key, role, name)| v1::RemovedKey {
            key: key.0.to_vec().into(),
            role: role.to_string(),
            name: name.to_string(),
        });
        Ok(Response::new(v1::RemovedList { removed: removed.collect() }))
    }
}

fn seconds(at: u64) -> i64 {
    i64::try_from(at).unwrap_or(i64::MAX)
}

fn token_status(id: &TokenId, token: &Token) -> v1::TokenStatus {
    v1::TokenStatus {
        token_id: id.to_string(),
        role: token.role.to_string(),
        author: token.author.clone(),
        created_unix_s: seconds(token.created),
        expires_unix_s: seconds(token.expires),
        uses: token.uses,
        used: token.used,
        replace: token.replace,
        revoked_unix_s: seconds(token.revoked),
    }
}

fn identity(one: &Enrolled) -> v1::JoinedIdentity {
    let (removed, by) = one.removed.clone().unwrap_or_default();
    v1::JoinedIdentity {
        role: one.role.to_string(),
        name: one.name.to_string(),
        joined_unix_s: seconds(one.joined),
        renewed_unix_s: seconds(one.renewed),
        ends_unix_s: seconds(one.ends),
        serial: one.serial.clone(),
        token_id: one.token.to_string(),
        machine: one.machine.map(|machine| hex::encode(&machine)).unwrap_or_default(),
        removed_unix_s: seconds(removed),
        removed_by: by,
        signed_by: one.signed_by.map(|digest| digest.0.to_vec()).unwrap_or_default().into(),
    }
}
