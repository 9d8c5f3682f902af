//! Tags of DogStatsD as attributes.

/// What a tag without a value has: an empty one would be none to those who ask by labels.
const PRESENT: &str = "true";

/// The tags `k:v,k2` as pairs, sorted by key. Values of one key that stands more often are joined by commas, sorted, each
/// once: `role:a,role:b` is `role` = `a,b`.
pub(super) fn pairs(tags: &str) -> Vec<(String, String)> {
    let mut all: Vec<(&str, &str)> = tags
        .split(',')
        .map(|tag| tag.split_once(':').unwrap_or((tag, PRESENT)))
        .map(|(key, value)| (key, if value.is_empty() { PRESENT } else { value }))
        .filter(|(key, _)| !key.is_empty())
        .collect();
    all.sort_unstable();
    all.dedup();
    all.chunk_by(|a, b| a.0 == b.0)
        .map(|same| {
            let values: Vec<&str> = same.iter().map(|(_, value)| *value).collect();
            (same[0].0.to_owned(), values.join(","))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_sorted_and_each_key_stands_once() {
        let of =
            |tags| pairs(tags).into_iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ");
        assert_eq!(of("env:t,url:http://a/b,fast"), "env=t fast=true url=http://a/b");
        assert_eq!(of("role:b,role:a,role:b"), "role=a,b");
        assert_eq!(of(",:x,a:,"), "a=true");
        assert_eq!(of(""), "");
    }
}
