//! The types of values.

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};

use indexmap::{IndexMap, IndexSet};

/// Any bytes.
pub type Text = Vec<u8>;
/// Fields by name.
pub type Hashed = IndexMap<Box<[u8]>, Text>;
/// Elements in order.
pub type List = VecDeque<Text>;
/// Members, each once.
pub type Members = IndexSet<Box<[u8]>>;

/// A value of any type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A string.
    Text(Text),
    /// A hash.
    Hashed(Hashed),
    /// A list.
    List(List),
    /// A set.
    Members(Members),
}

impl Value {
    /// What TYPE calls it.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Text(_) => "string",
            Value::Hashed(_) => "hash",
            Value::List(_) => "list",
            Value::Members(_) => "set",
        }
    }
}

impl Hash for Value {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.kind().hash(hasher);
        match self {
            Value::Text(text) => text.hash(hasher),
            Value::Hashed(fields) => fields.iter().for_each(|field| field.hash(hasher)),
            Value::List(elements) => elements.hash(hasher),
            Value::Members(members) => members.iter().for_each(|member| member.hash(hasher)),
        }
    }
}

/// One of the types.
pub trait Kind: Default + Into<Value> {
    /// The value, if it is of this type.
    fn of(value: &Value) -> Option<&Self>;
    /// The same, to be changed.
    fn of_mut(value: &mut Value) -> Option<&mut Self>;
    /// Whether there would be no key with it.
    fn is_empty(&self) -> bool;
}

/// Makes a type one of them.
macro_rules! kind {
    ($type:ty, $variant:ident, $is_empty:expr) => {
        impl From<$type> for Value {
            fn from(value: $type) -> Value {
                Value::$variant(value)
            }
        }

        impl Kind for $type {
            fn of(value: &Value) -> Option<&Self> {
                if let Value::$variant(value) = value { Some(value) } else { None }
            }

            fn of_mut(value: &mut Value) -> Option<&mut Self> {
                if let Value::$variant(value) = value { Some(value) } else { None }
            }

            fn is_empty(&self) -> bool {
                $is_empty(self)
            }
        }
    };
}

// A string may be empty, and is a value even so.
kind!(Text, Text, |_: &Text| false);
kind!(Hashed, Hashed, Hashed::is_empty);
kind!(List, List, List::is_empty);
kind!(Members, Members, Members::is_empty);
