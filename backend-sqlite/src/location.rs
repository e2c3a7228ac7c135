//! Where the database of a URL is.
//!
//! People bring URLs from other libraries, which do not agree with each other. A form is taken with
//! its meaning there where only one meaning makes sense, and refused with what to write otherwise.

use std::path::{Path, PathBuf};

use memquill_core::{Error, Result};
use percent_encoding::percent_decode_str;

/// Where a database is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Location {
    /// In the memory of one connection.
    Memory,
    File(PathBuf),
}

/// What reading a path asks of the machine.
pub(crate) struct Machine<'a> {
    pub(crate) home: Option<PathBuf>,
    pub(crate) exists: &'a dyn Fn(&Path) -> bool,
    /// Whether a path may begin with a drive and be separated by backslashes.
    pub(crate) windows: bool,
}

fn refused(message: String, hint: impl Into<String>) -> Error {
    Error::config(message).with_hint(hint.into())
}

impl Location {
    /// Reads the part of a URL between its scheme and its options.
    pub(crate) fn read(body: &str, machine: &Machine<'_>) -> Result<Self> {
        if body.contains(char::is_control) || body.trim() != body {
            return Err(refused(
                "the path begins or ends with a space, or holds a control character".into(),
                "remove it, or write a space that is meant as %20",
            ));
        }
        let (is_uri, rest) = match body.strip_prefix("file:") {
            Some(rest) => (true, rest),
            None => (false, body),
        };
        if rest.trim_start_matches('/') == ":memory:" {
            return Ok(Self::Memory);
        }
        let path = if let Some(path) = rest.strip_prefix("////") {
            format!("/{}", path.trim_start_matches('/'))
        } else if let Some(path) = rest.strip_prefix("///") {
            after_three_slashes(path, is_uri, machine)?
        } else if let Some(path) = rest.strip_prefix("//") {
            after_two_slashes(path, is_uri)?
        } else {
            rest.to_owned()
        };
        literal(&path, machine).map(Self::File)
    }
}

/// `sqlite:///PATH` is an absolute path to some libraries and a relative one to others (`SQLAlchemy`,
/// Django). It is absolute where that names something that is there, at least its first folder.
fn after_three_slashes(path: &str, is_uri: bool, machine: &Machine<'_>) -> Result<String> {
    if path.starts_with("~/") || has_drive(path) {
        return Ok(path.to_owned());
    }
    let absolute = format!("/{path}");
    let exists = |text: &str| (machine.exists)(Path::new(&decoded(text).unwrap_or_default()));
    let has_root = path.split_once('/').is_some_and(|(first, _)| exists(&format!("/{first}")));
    if is_uri || exists(&absolute) || (has_root && !exists(path)) || path.is_empty() {
        return Ok(absolute);
    }
    Err(refused(
        format!("the path after three slashes is {absolute} to some programs and {path} to others"),
        format!(
            "write sqlite:{path} for the relative path, or sqlite:{absolute} for the absolute one"
        ),
    ))
}

/// `sqlite://PATH` is a relative path; of a URI, a host stands here.
fn after_two_slashes(path: &str, is_uri: bool) -> Result<String> {
    let (first, rest) = path.split_once('/').map_or((path, None), |(f, r)| (f, Some(r)));
    match rest {
        Some(rest) if is_uri && first == "localhost" => Ok(format!("/{rest}")),
        Some(rest) if is_uri || first == "localhost" || first.contains(['@', ':']) => Err(refused(
            "an SQLite database is a file of this machine, without host and user".into(),
            format!("write sqlite:/{rest}, or sqlite:{rest} for a relative path"),
        )),
        None if is_uri => Err(refused(
            "the URI names a host and no file".into(),
            format!("write sqlite:file:{path}, or sqlite:{path}"),
        )),
        _ => Ok(path.to_owned()),
    }
}

/// Reads a path as it is written. What follows checks what a shell or another system would have
/// made of it; percent escapes are decoded afterwards, so that any name can be written.
fn literal(path: &str, machine: &Machine<'_>) -> Result<PathBuf> {
    if path.is_empty() {
        return Err(refused(
            "the URL names no file".into(),
            "write sqlite:PATH, or sqlite::memory: for a database without a file",
        ));
    }
    if !machine.windows && (has_drive(path) || path.contains('\\')) {
        return Err(refused(
            "the path is one of Windows, and this is another system".into(),
            "separate folders by /, as in sqlite:data/agent.db; write a backslash that is meant \
             as %5C",
        ));
    }
    if path.starts_with('$') || path.starts_with('%') && path[1..].contains("%/") {
        return Err(refused(
            "the path begins with a variable, which nobody replaced".into(),
            "use double quotes in a shell, write ${NAME} in a configuration file, or write the \
             path in full; write a $ that is meant as %24",
        ));
    }
    let last = path.rsplit(['/', '\\']).next().unwrap_or_default();
    if matches!(last, "" | "." | "..") || path == "~" {
        let folder = path.trim_end_matches('/');
        return Err(refused(
            format!("the path {path} names a folder"),
            format!("name a file in it, as in sqlite:{folder}/memory.db"),
        ));
    }
    if let Some(rest) = path.strip_prefix('~') {
        let Some(rest) = rest.strip_prefix('/') else {
            return Err(refused(
                "the path begins with the home folder of a named user".into(),
                "write the folder in full; write a ~ that is meant as %7E",
            ));
        };
        let home = machine.home.as_ref().ok_or_else(|| {
            refused("there is no home folder".into(), "set HOME, or write the path in full")
        })?;
        return Ok(home.join(decoded(rest)?));
    }
    let path = decoded(path)?;
    // SQLite would read a path that begins so as a URI, whose file is another, or none.
    if path.starts_with("file:") { Ok(Path::new(".").join(path)) } else { Ok(path.into()) }
}

/// A percent sign without two hexadecimal digits is itself.
fn decoded(path: &str) -> Result<String> {
    match percent_decode_str(path).decode_utf8() {
        Ok(path) if !path.contains(char::is_control) => Ok(path.into_owned()),
        _ => Err(refused(
            "the path's percent escapes make no text".into(),
            "percent-encode the bytes of its UTF-8 form, and write a % that is meant as %25",
        )),
    }
}

/// Whether a path begins as `C:\` or `C:/`.
fn has_drive(path: &str) -> bool {
    matches!(path.as_bytes(), [drive, b':', b'/' | b'\\', ..] if drive.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_on(windows: bool, there: &[&str], body: &str) -> Result<Location> {
        let exists = |path: &Path| there.iter().any(|there| Path::new(there) == path);
        Location::read(body, &Machine { home: Some("/home/ada".into()), exists: &exists, windows })
    }

    fn read(body: &str) -> Result<Location> {
        read_on(false, &["/tmp", "/var", "/root.db"], body)
    }

    #[test]
    fn a_path_is_taken_as_other_libraries_take_it() {
        for (body, path) in [
            ("agent.db", "agent.db"),
            ("./a/b.db", "./a/b.db"),
            ("/var/agent.db", "/var/agent.db"),
            ("//agent.db", "agent.db"),
            ("//data/agent.db", "data/agent.db"),
            ("///tmp/new/agent.db", "/tmp/new/agent.db"),
            ("///root.db", "/root.db"),
            ("////nowhere/agent.db", "/nowhere/agent.db"),
            ("~/agent.db", "/home/ada/agent.db"),
            ("///~/a b.db", "/home/ada/a b.db"),
            ("file:agent.db", "agent.db"),
            ("file:///nowhere/agent.db", "/nowhere/agent.db"),
            ("file://localhost/var/a.db", "/var/a.db"),
            ("a%20b%3f.db", "a b?.db"),
            ("100%.db", "100%.db"),
            ("%7E/a.db", "~/a.db"),
            ("%24HOME.db", "$HOME.db"),
            ("a%5Cb.db", "a\\b.db"),
            ("./file:x.db", "./file:x.db"),
            ("%66ile:x.db", "./file:x.db"),
        ] {
            assert_eq!(read(body).unwrap(), Location::File(path.into()), "{body}");
        }
        for body in [":memory:", "//:memory:", "///:memory:", "file::memory:"] {
            assert_eq!(read(body).unwrap(), Location::Memory, "{body}");
        }
        let windows = |body| read_on(true, &[], body).unwrap();
        assert_eq!(windows("C:\\data\\a.db"), Location::File("C:\\data\\a.db".into()));
        assert_eq!(windows("///C:/data/a.db"), Location::File("C:/data/a.db".into()));
    }

    #[test]
    fn g10_a_path_with_two_meanings_or_none_is_refused_with_what_to_write() {
        for (body, hint) in [
            ("", "sqlite:PATH"),
            ("//", "sqlite:PATH"),
            ("///agent.db", "sqlite:agent.db for the relative"),
            ("///data/agent.db", "sqlite:/data/agent.db for the absolute"),
            ("~", "name a file in it"),
            ("~ada/agent.db", "in full"),
            ("folder/", "sqlite:folder/memory.db"),
            ("/", "name a file in it"),
            ("..", "sqlite:../memory.db"),
            ("a/.", "name a file in it"),
            ("C:\\data\\a.db", "separate folders by /"),
            ("///C:/data/a.db", "separate folders by /"),
            ("data\\a.db", "%5C"),
            ("$HOME/agent.db", "%24"),
            ("%APPDATA%/agent.db", "in full"),
            ("//localhost/var/a.db", "sqlite:/var/a.db"),
            ("//ada:pw@host/a.db", "sqlite:/a.db"),
            ("file://host/a.db", "sqlite:/a.db"),
            ("file://agent.db", "sqlite:agent.db"),
            (" agent.db", "%20"),
            ("agent.db\n", "remove it"),
            ("a%00b", "%25"),
            ("a%ff", "UTF-8"),
        ] {
            let error = read(body).unwrap_err();
            assert_eq!(error.code(), "config", "{body}");
            assert!(error.hint().unwrap().contains(hint), "{body}: {error:?}");
        }
        // A relative file of the name is what is meant, whatever folders the root has.
        assert!(read_on(false, &["/var", "var/a.db"], "///var/a.db").is_err());
    }
}
