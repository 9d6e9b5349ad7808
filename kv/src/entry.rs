//! The form of entries in the log: commands of several connections, as one value.
//!
//! ```text
//! entry       := 2 (1 byte), origin (8), step ...
//!              | 1 (1 byte), origin (8), milliseconds since 1970 (8), step ...
//! step        := 0, command  |  1, transaction
//! transaction := count, (word, version) ..., count, command ...
//! command     := count, word ...
//! word        := length, bytes            counts, lengths and versions are LEB128
//! ```
//!
//! Commands are carried out at the time that the log has at the entry's place. Entries of form 1
//! are of a version that knew no times of the log: each says its own, the one at which it was
//! proposed by the clock of its proposer. They are read for ever, and carried out as that version
//! did: its results stand in snapshots, from which some replicas go on while others begin with the
//! first entry.

/// The form of entries that this program writes.
const FORM: u8 = 2;
/// The form that says a time of its own.
const TIMED: u8 = 1;
/// How many bytes stand before the steps, in the form that is written.
pub const HEADER_BYTES: usize = 9;

/// The requests of a connection, in the form of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Steps {
    bytes: Vec<u8>,
    count: usize,
}

impl Steps {
    /// How many steps there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Them, as they stand in an entry.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Adds a command.
    pub fn command(&mut self, words: &[impl AsRef<[u8]>]) {
        self.bytes.push(0);
        self.count += 1;
        put_command(words, &mut self.bytes);
    }

    /// Adds a transaction, which is carried out if the keys have these versions.
    pub fn transaction(&mut self, watched: &[(Vec<u8>, u64)], commands: &Commands) {
        self.bytes.push(1);
        self.count += 1;
        put_number(watched.len() as u64, &mut self.bytes);
        for (key, version) in watched {
            put_word(key, &mut self.bytes);
            put_number(*version, &mut self.bytes);
        }
        put_number(commands.count, &mut self.bytes);
        self.bytes.extend_from_slice(&commands.bytes);
    }
}

/// The commands of a transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commands {
    bytes: Vec<u8>,
    count: u64,
}

impl Commands {
    /// Adds one.
    pub fn push(&mut self, words: &[impl AsRef<[u8]>]) {
        self.count += 1;
        put_command(words, &mut self.bytes);
    }

    /// How many bytes they have.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }
}

/// An entry, of which the steps of connections are added one after the other. Without any it moves
/// the time alone.
pub fn begin(origin: u64) -> Vec<u8> {
    let mut bytes = vec![FORM];
    bytes.extend_from_slice(&origin.to_le_bytes());
    bytes
}

/// The same in the form that says a time of its own, in milliseconds since 1970.
#[cfg(test)]
pub fn begin_timed(origin: u64, time: u64) -> Vec<u8> {
    [&[TIMED][..], &origin.to_le_bytes(), &time.to_le_bytes()].concat()
}

fn put_command(words: &[impl AsRef<[u8]>], bytes: &mut Vec<u8>) {
    put_number(words.len() as u64, bytes);
    words.iter().for_each(|word| put_word(word.as_ref(), bytes));
}

fn put_word(word: &[u8], bytes: &mut Vec<u8>) {
    put_number(word.len() as u64, bytes);
    bytes.extend_from_slice(word);
}

fn put_number(mut number: u64, bytes: &mut Vec<u8>) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// An entry that is being read. Everything in it may be wrong: a holder of the cluster's key can
/// put any value into the log.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// Who proposed it.
    pub origin: u64,
    /// When, in milliseconds since 1970, in the form that says so. Its commands are carried out at
    /// that time, otherwise at the log's.
    pub time: Option<u64>,
    /// The commands to carry out.
    pub steps: Reader<'a>,
}

impl<'a> Entry<'a> {
    /// Reads the head of a value. None if it is no entry, or of a form that is not known.
    pub fn read(value: &'a [u8]) -> Option<Entry<'a>> {
        let (form, rest) = value.split_first()?;
        let (origin, rest) = fixed(rest)?;
        let (time, bytes) = match *form {
            FORM => (None, rest),
            TIMED => fixed(rest).map(|(time, rest)| (Some(time), rest))?,
            _ => return None,
        };
        Some(Entry { origin, time, steps: Reader { bytes } })
    }
}

/// A number of eight bytes, and what stands behind it.
fn fixed(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u64::from_le_bytes(*number), rest))
}

/// A step that is being read.
#[derive(Clone, Debug)]
pub enum Step<'a> {
    /// A command.
    Command(Vec<&'a [u8]>),
    /// A transaction.
    Transaction {
        /// The versions that keys must have.
        watched: Vec<(&'a [u8], u64)>,
        /// What is done then.
        commands: Vec<Vec<&'a [u8]>>,
    },
}

/// Steps that are being read.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Steps without the head of an entry.
    pub fn of(steps: &'a Steps) -> Reader<'a> {
        Reader { bytes: &steps.bytes }
    }

    /// The next step; none at the end, or where no valid step follows.
    pub fn step(&mut self) -> Option<Step<'a>> {
        match self.byte()? {
            0 => self.command().map(Step::Command),
            1 => {
                let count = self.count()?;
                let watched = (0..count).map(|_| Some((self.word()?, self.number()?)));
                let watched = watched.collect::<Option<_>>()?;
                let count = self.count()?;
                let commands = (0..count).map(|_| self.command()).collect::<Option<_>>()?;
                Some(Step::Transaction { watched, commands })
            }
            _ => None,
        }
    }

    fn command(&mut self) -> Option<Vec<&'a [u8]>> {
        let count = self.count()?;
        (0..count).map(|_| self.word()).collect()
    }

    fn word(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (word, rest) = self.bytes.split_at_checked(length)?;
        self.bytes = rest;
        Some(word)
    }

    /// A number of things, each of which has a byte at least.
    fn count(&mut self) -> Option<usize> {
        let count = usize::try_from(self.number()?).ok()?;
        (count <= self.bytes.len()).then_some(count)
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(*first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps() -> Steps {
        let mut steps = Steps::default();
        steps.command(&[&b"SET"[..], b"k", &[b'v'; 300]]);
        let mut commands = Commands::default();
        commands.push(&["GET", "k"]);
        commands.push(&["DEL", ""]);
        steps.transaction(&[(b"k".to_vec(), u64::MAX)], &commands);
        assert_eq!(steps.len(), 2);
        steps
    }

    /// In both forms.
    fn entries() -> [Vec<u8>; 2] {
        let heads = [begin(7), begin_timed(7, 1_700_000_000_000)];
        heads.map(|head| [head, steps().as_bytes().to_vec()].concat())
    }

    #[test]
    fn what_is_written_is_read() {
        for (bytes, time) in entries().into_iter().zip([None, Some(1_700_000_000_000)]) {
            let mut entry = Entry::read(&bytes).unwrap();
            assert_eq!((entry.origin, entry.time), (7, time));
            are_there(&mut entry.steps);
        }
        assert_eq!(begin(7).len(), HEADER_BYTES);
        assert!(Entry::read(&[&[3][..], &entries()[0][1..]].concat()).is_none(), "a newer form");
    }

    fn are_there(steps: &mut Reader<'_>) {
        let Some(Step::Command(words)) = steps.step() else { panic!() };
        assert_eq!(words, [&b"SET"[..], b"k", &[b'v'; 300]]);
        let Some(Step::Transaction { watched, commands }) = steps.step() else { panic!() };
        assert_eq!(watched, [(&b"k"[..], u64::MAX)]);
        assert_eq!(commands, [[&b"GET"[..], b"k"], [b"DEL", b""]]);
        assert!(steps.step().is_none());
    }

    #[test]
    fn no_bytes_are_too_wrong_to_be_read() {
        for bytes in entries() {
            for end in 0..bytes.len() {
                if let Some(mut entry) = Entry::read(&bytes[..end]) {
                    while entry.steps.step().is_some() {}
                }
                for byte in [0, 1, 0x7f, 0x80, 0xff] {
                    let mut broken = bytes.clone();
                    broken[end] = byte;
                    if let Some(mut entry) = Entry::read(&broken) {
                        while entry.steps.step().is_some() {}
                    }
                }
            }
        }
    }

    /// Bytes of the version that wrote a time into every entry: SET k v PX 50.
    #[test]
    fn what_an_earlier_version_wrote_is_read() {
        let bytes = b"\x01\x07\0\0\0\0\0\0\0\x00\x68\xe5\xcf\x8b\x01\0\0\
                      \x00\x05\x03SET\x01k\x01v\x02PX\x0250";
        let mut entry = Entry::read(bytes).unwrap();
        assert_eq!((entry.origin, entry.time), (7, Some(1_700_000_000_000)));
        let Some(Step::Command(words)) = entry.steps.step() else { panic!() };
        assert_eq!(words, [&b"SET"[..], b"k", b"v", b"PX", b"50"]);
        assert!(entry.steps.step().is_none());
    }
}
