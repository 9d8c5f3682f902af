//! Which commit a folder is a checkout of. Of the build script, and of the test of it.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

/// Characters of a commit: enough to be unique for good.
const LENGTH: &str = "--short=12";

/// A commit, and what changes with it.
pub(crate) struct Checkout {
    /// Its first characters.
    pub(crate) commit: String,
    /// Files and folders of git of which at least one changes with the next commit or checkout; all of them exist.
    pub(crate) watched: Vec<PathBuf>,
}

/// The commit of `folder`, when its file `own` is one that git tracks; `None` without git, as in a source archive, also
/// when that lies inside another repository.
pub(crate) fn of(folder: &Path, own: &str) -> Option<Checkout> {
    let git = |arguments: &[&str]| {
        let mut git = Command::new("git");
        // A build inside a hook of git is not about the repository of that hook.
        let set = env::vars_os().filter(|(name, _)| name.to_str().is_some_and(|name| name.starts_with("GIT_")));
        for (name, _) in set {
            git.env_remove(name);
        }
        let output = git.arg("-C").arg(folder).args(arguments).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
        (output.status.success() && !text.is_empty()).then_some(text)
    };
    git(&["ls-files", "--error-unmatch", own])?;
    let commit = git(&["rev-parse", LENGTH, "HEAD"])?;
    // HEAD names the branch or the commit, the branch is in a file of its own or among the packed ones. The log changes
    // with all of them; it may be switched off.
    let path = |name: &str| git(&["rev-parse", "--git-path", name]).map(|path| folder.join(path));
    let files = ["HEAD", "logs/HEAD", "packed-refs"].into_iter().filter_map(path).filter(|path| path.is_file());
    // The file of a packed branch comes with its next commit: until then its folder is looked at.
    let branch = git(&["rev-parse", "--symbolic-full-name", "HEAD"]).and_then(|name| path(&name));
    let branch = branch.and_then(|path| path.ancestors().find(|path| path.exists()).map(Path::to_path_buf));
    Some(Checkout { commit, watched: files.chain(branch).collect() })
}
