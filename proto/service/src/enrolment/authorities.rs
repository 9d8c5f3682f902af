//! Whom a member trusts, kept in step with who signs: a new authority comes to all before anybody shows a certificate by it, and
//! the former one goes when nobody needs it any more. Pure.

use std::collections::BTreeSet;

use starling_proto::v1;

use crate::credentials::{certificates, digest};

/// What a member does about an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// It has what there is.
    Nothing,
    /// Others are trusted from now on: these, PEM.
    Trust(String),
    /// Its certificate is not by the authority that signs now: the next one, and whom to trust, come together.
    Renew,
}

/// What follows from an answer, for who trusts `known` (PEM) and has a certificate by the authority of the digest `proved_by`.
///
/// # Errors
/// What is wrong with the answer, or with `known`.
pub(super) fn step(known: &str, proved_by: Option<[u8; 32]>, answer: &v1::Authorities) -> Result<Step, String> {
    // Who neither signs nor reaches who does may be behind: another one is asked later.
    if answer.signed_by.is_empty() {
        return Ok(Step::Nothing);
    }
    let told = digests(&answer.certificates)?;
    let signs: [u8; 32] = answer.signed_by[..].try_into().map_err(|_| "signed_by: wanted are 32 bytes".to_owned())?;
    if !told.contains(&signs) {
        return Err("the authority that signs is not among those to trust".to_owned());
    }
    if proved_by != Some(signs) {
        // Its certificate would not be taken by who trusts only that one; and what is new must be trusted before it is shown.
        return Ok(Step::Renew);
    }
    Ok(if told == digests(known)? { Step::Nothing } else { Step::Trust(answer.certificates.clone()) })
}

fn digests(pem: &str) -> Result<BTreeSet<[u8; 32]>, String> {
    Ok(certificates(pem)?.iter().map(digest).collect())
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    /// PEM of some authority, and its digest.
    fn authority() -> (String, [u8; 32]) {
        let made = CertificateParams::default().self_signed(&KeyPair::generate().unwrap()).unwrap();
        (made.pem(), digest(made.der()))
    }

    fn answer(certificates: &str, signed_by: &[u8]) -> v1::Authorities {
        let signed_by = signed_by.to_vec().into();
        v1::Authorities { certificates: certificates.to_owned(), cluster: "test".to_owned(), signed_by }
    }

    #[test]
    fn a_new_authority_is_trusted_first_then_renewed_by_and_the_former_goes_last() {
        let ((old, by_old), (new, by_new)) = (authority(), authority());
        let both = format!("{old}{new}");
        assert_eq!(step(&old, Some(by_old), &answer(&old, &by_old)), Ok(Step::Nothing));
        assert_eq!(step(&old, Some(by_old), &answer(&both, &by_old)), Ok(Step::Trust(both.clone())));
        assert_eq!(step(&format!("{new}{old}"), Some(by_old), &answer(&both, &by_old)), Ok(Step::Nothing), "any order");
        assert_eq!(step(&both, Some(by_old), &answer(&both, &by_new)), Ok(Step::Renew));
        assert_eq!(step(&both, Some(by_new), &answer(&new, &by_new)), Ok(Step::Trust(new.clone())));
        // Who was away meanwhile and is still believed.
        assert_eq!(step(&both, Some(by_old), &answer(&new, &by_new)), Ok(Step::Renew));
    }

    #[test]
    fn who_does_not_know_what_is_signed_by_and_who_contradicts_itself_changes_nothing() {
        let ((old, by_old), (new, by_new)) = (authority(), authority());
        assert_eq!(step(&format!("{old}{new}"), Some(by_old), &answer(&old, &[])), Ok(Step::Nothing));
        assert!(step(&old, Some(by_old), &answer(&old, &by_new)).is_err());
        assert!(step(&old, Some(by_old), &answer("", &by_old)).is_err());
        assert!(step(&old, Some(by_old), &answer(&old, &by_old[..8])).is_err());
    }
}
