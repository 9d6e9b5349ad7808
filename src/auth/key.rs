//! Key files: how they are read, which permissions they must have, and how new ones are made.
//!
//! A key file has one or two lines `paxos-key-1 HEX`, 64 hexadecimal digits each; `#` at a line's
//! start or after a blank starts a comment. The first key seals, each of them opens: so a key can
//! be replaced while the cluster runs. Errors never quote what a file holds.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use crate::text::lines;

/// The bytes of a key.
pub const SECRET_BYTES: usize = 32;

/// The word before a key: says what the digits are.
const WORD: &str = "paxos-key-1";

/// One key, and the other while one of them is being replaced.
const KEYS_MAX: usize = 2;

/// No key file is longer; a device that never ends is not read for ever.
const FILE_BYTES_MAX: u64 = 65_536;

/// The permissions that must be missing: those of everybody but the owner.
const OTHERS: u32 = 0o077;

/// The error for a pipe, a device or a directory.
const NO_FILE: &str = "a key must be a regular file";

/// The comment in a new key file.
const HEAD: &str = "\
# A key of a Multi-Paxos cluster. Anyone who holds it can take part and speak for any process: keep
# it secret. The first key of a file seals, each opens. See docs/security.md.
";

/// The keys of a process.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyRing {
    secrets: Vec<[u8; SECRET_BYTES]>,
}

/// Shows nothing of the keys.
impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyRing({} keys)", self.secrets.len())
    }
}

/// What is wrong with a key file. Each has one sentence, with the place and the cure.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyError {
    /// There is no such file.
    Missing(String),
    /// The file cannot be read.
    Unreadable(String),
    /// Others than its owner may use the key, or its owner is neither this user nor root.
    Exposed(String),
    /// The file holds no key, or something besides keys, or too many of them.
    Malformed(String),
    /// A new file has the name of one that is there.
    Exists(String),
    /// A new file cannot be written.
    Unwritable(String),
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyError::Missing(sentence)
            | KeyError::Unreadable(sentence)
            | KeyError::Exposed(sentence)
            | KeyError::Malformed(sentence)
            | KeyError::Exists(sentence)
            | KeyError::Unwritable(sentence) => f.write_str(sentence),
        }
    }
}

impl std::error::Error for KeyError {}

impl KeyRing {
    /// Reads the key file at `path`.
    ///
    /// # Errors
    ///
    /// When it cannot be read, when anybody but its owner may read it, when its owner is neither
    /// this user nor root, or when it is not a key file.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let name = path.display();
        let fail = |what: &str| format!("{name}: {what}");
        let unreadable = |error: io::Error| {
            let sentence = fail(&format!("cannot read the key: {error}"));
            if error.kind() == io::ErrorKind::NotFound {
                return KeyError::Missing(format!(
                    "{sentence}; make one with `paxos keygen {name}`"
                ));
            }
            KeyError::Unreadable(sentence)
        };
        // Opening a pipe could wait for ever; anything else is checked again below.
        if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
            return Err(KeyError::Malformed(fail(NO_FILE)));
        }
        // The checks are of the open file, not of whatever has its name a moment later.
        let file = File::open(path).map_err(unreadable)?;
        let metadata = file.metadata().map_err(unreadable)?;
        if !metadata.is_file() {
            return Err(KeyError::Malformed(fail(NO_FILE)));
        }
        let mode = metadata.mode() & 0o7777;
        if mode & OTHERS != 0 {
            return Err(KeyError::Exposed(format!(
                "{name}: others may use this key, its mode is {mode:04o}; chmod 600 {name}, and \
                 make another if somebody may have read it"
            )));
        }
        let (owner, user) = (metadata.uid(), rustix::process::geteuid().as_raw());
        if owner != user && owner != 0 {
            return Err(KeyError::Exposed(format!(
                "{name}: this key belongs to user {owner} and this process to user {user}; \
                 chown {user} {name}"
            )));
        }
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        let text = String::from_utf8(bytes).unwrap_or_default();
        if text.is_empty() || text.len() as u64 > FILE_BYTES_MAX {
            return Err(KeyError::Malformed(format!(
                "{name}: this is not a key file; make one with `paxos keygen {name}`"
            )));
        }
        Self::parse(&name.to_string(), &text)
    }

    /// Parses the text of a key file; errors name it by `path`.
    ///
    /// # Errors
    ///
    /// When there is no key, a third one, the same one twice, or anything else.
    pub fn parse(path: &str, text: &str) -> Result<Self, KeyError> {
        let mut secrets = Vec::new();
        for (number, words) in lines(text) {
            let fail = |what: &str| Err(KeyError::Malformed(format!("{path}:{number}: {what}")));
            let secret = match words[..] {
                [WORD, digits] => from_hex(digits),
                _ => None,
            };
            let Some(secret) = secret else {
                return fail(
                    "not a line `paxos-key-1` and 64 hexadecimal digits; make a key with \
                             `paxos keygen PATH`",
                );
            };
            if secrets.contains(&secret) {
                return fail("this key stands there twice; remove one");
            }
            if secrets.len() == KEYS_MAX {
                return fail("a third key; there may be two, while one replaces the other");
            }
            secrets.push(secret);
        }
        if secrets.is_empty() {
            return Err(KeyError::Malformed(format!(
                "{path}: no key in it; make one with `paxos keygen PATH`"
            )));
        }
        Ok(KeyRing { secrets })
    }

    /// The keys; the first one seals.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &[u8]> {
        self.secrets.iter().map(|secret| &secret[..])
    }
}

/// Makes a new key file at `path`, readable by its owner alone, and puts it on stable storage.
/// `secret` comes from the operating system.
///
/// # Errors
///
/// When the file exists already: overwriting the only copy of a key would stop its cluster.
pub fn create(path: &Path, secret: &[u8; SECRET_BYTES]) -> Result<(), KeyError> {
    let name = path.display();
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = made.map_err(|error| {
        if error.kind() == io::ErrorKind::AlreadyExists {
            let sentence = "is there already, and is not overwritten; choose another name";
            KeyError::Exists(format!("{name} {sentence}"))
        } else {
            KeyError::Unwritable(format!("{name}: cannot make it: {error}"))
        }
    })?;
    let digits: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    file.write_all(format!("{HEAD}{WORD} {digits}\n").as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(|error| {
            KeyError::Unwritable(format!("{name}: cannot write it: {error}; remove it"))
        })
}

fn from_hex(digits: &str) -> Option<[u8; SECRET_BYTES]> {
    let digits = digits.as_bytes();
    if digits.len() != 2 * SECRET_BYTES {
        return None;
    }
    let value = |digit: u8| char::from(digit).to_digit(16);
    let mut secret = [0; SECRET_BYTES];
    for (byte, pair) in secret.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = (value(pair[0])? << 4 | value(pair[1])?) as u8;
    }
    Some(secret)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const SECRET: [u8; SECRET_BYTES] = [0xa7; SECRET_BYTES];

    fn line(digit: char) -> String {
        format!("{WORD} {}\n", digit.to_string().repeat(64))
    }

    fn error(text: &str) -> String {
        KeyRing::parse("key", text).map_or_else(|error| error.to_string(), |_| "taken".to_owned())
    }

    #[test]
    fn a_new_key_is_its_owners_alone_and_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("paxos.key");
        create(&path, &SECRET).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(KeyRing::read(&path).unwrap().secrets, [SECRET]);
        let error = create(&path, &[1; SECRET_BYTES]).unwrap_err().to_string();
        assert!(error.contains("is not overwritten"), "{error}");
        assert_eq!(KeyRing::read(&path).unwrap().secrets, [SECRET]);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        assert!(KeyRing::read(&path).is_ok());
    }

    #[test]
    fn a_key_that_others_may_use_is_refused_with_the_cure() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("paxos.key");
        create(&path, &SECRET).unwrap();
        for mode in [0o640, 0o604, 0o644, 0o620, 0o601, 0o660] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = KeyRing::read(&path).unwrap_err().to_string();
            let expected = format!("its mode is {mode:04o}; chmod 600 {}", path.display());
            assert!(error.contains(&expected) && !error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn what_is_no_key_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let missing = KeyRing::read(&folder.path().join("none")).unwrap_err().to_string();
        assert!(missing.contains("make one with `paxos keygen"), "{missing}");
        let of_folder = KeyRing::read(folder.path()).unwrap_err().to_string();
        assert!(of_folder.contains("must be a regular file"), "{of_folder}");
        let endless = KeyRing::read(Path::new("/dev/zero")).unwrap_err().to_string();
        assert!(endless.contains("must be a regular file"), "{endless}");
        let path = folder.path().join("binary");
        create(&path, &SECRET).unwrap();
        fs::write(&path, [0xff; 100]).unwrap();
        assert!(KeyRing::read(&path).unwrap_err().to_string().contains("not a key file"));
    }

    #[test]
    fn a_program_can_tell_what_is_wrong_with_a_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("paxos.key");
        let read = || KeyRing::read(&path).unwrap_err();
        assert!(matches!(read(), KeyError::Missing(_)));
        create(&path, &SECRET).unwrap();
        assert!(matches!(create(&path, &SECRET), Err(KeyError::Exists(_))));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(read(), KeyError::Exposed(_)));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "# none\n").unwrap();
        assert!(matches!(read(), KeyError::Malformed(_)));
        assert!(matches!(KeyRing::read(&path.join("a")), Err(KeyError::Unreadable(_))));
        assert!(matches!(create(&path.join("a"), &SECRET), Err(KeyError::Unwritable(_))));
    }

    #[test]
    fn one_or_two_keys_and_comments() {
        let two = format!("# old\r\n\n  {}{}", line('a'), line('B').replace('\n', " # new\r\n"));
        let ring = KeyRing::parse("key", &two).unwrap();
        assert_eq!(ring.secrets, [[0xaa; SECRET_BYTES], [0xbb; SECRET_BYTES]]);
        let marked = format!("\u{feff}{}", line('a'));
        assert_eq!(KeyRing::parse("key", &marked).unwrap().secrets, [[0xaa; SECRET_BYTES]]);
        let glued = line('a').replace('\n', "#new\n");
        assert!(error(&glued).starts_with("key:1: not a line"), "cut in silence");
        assert!(error("# nothing\n").contains("key: no key in it"));
        assert!(error(&[line('1'), line('1')].concat()).contains("key:2: this key stands there"));
        assert!(error(&[line('1'), line('2'), line('3')].concat()).contains("key:3: a third key"));
    }

    #[test]
    fn errors_name_the_line_and_never_the_key() {
        let secret = "c0ffee".repeat(11);
        for text in [
            format!("{WORD} {}", &secret[..63]),
            format!("{WORD} {}", &secret[..65]),
            format!("{WORD} {}g", &secret[..63]),
            format!("{WORD} {}é", &secret[..62]),
            format!("paxos-key-2 {}", &secret[..64]),
            secret[..64].to_owned(),
            format!("{WORD} {} {WORD}", &secret[..64]),
        ] {
            let error = error(&format!("\n{text}\n"));
            assert!(error.starts_with("key:2: not a line"), "{error}");
            assert!(!error.contains("c0ffee") && !error.contains('\n'), "{error}");
        }
        let ring = KeyRing { secrets: vec![SECRET] };
        assert_eq!(format!("{ring:?}"), "KeyRing(1 keys)");
    }
}
