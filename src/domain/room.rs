//! The participants of a conversation. Nothing of it is ever stored.
use serde::{Deserialize, Serialize};

/// One who is there, however many connections it has.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Participant {
    /// Its identity.
    pub id: String,
    /// Its name for people.
    pub name: String,
    /// Person or model.
    pub kind: ParticipantKind,
}

/// Person or model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ParticipantKind {
    /// A person, or a program in a person's place.
    User,
    /// The model that answers.
    Model,
}

/// The longest id of a participant, in bytes, and the longest name, in characters: ten of them fit
/// into one hint.
const ID_BYTES: usize = 64;
const NAME_CHARS: usize = 80;

/// Why this is no participant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadParticipant {
    /// Not an id.
    #[error("an id has 1 to 64 visible ASCII characters, and is not `assistant`")]
    Id,
    /// Not a name.
    #[error("a name has 1 to 80 characters, none of them a control character")]
    Name,
}

impl Participant {
    /// The id of the model that answers.
    pub const ASSISTANT: &str = "assistant";

    /// A person.
    ///
    /// # Errors
    /// See [`BadParticipant`].
    pub fn user(id: String, name: String) -> Result<Self, BadParticipant> {
        let visible = id.bytes().all(|byte| byte.is_ascii_graphic());
        if !visible || !(1..=ID_BYTES).contains(&id.len()) || id == Self::ASSISTANT {
            return Err(BadParticipant::Id);
        }
        let fits = (1..=NAME_CHARS).contains(&name.chars().count());
        if !fits || name.chars().any(char::is_control) {
            return Err(BadParticipant::Name);
        }
        Ok(Self { id, name, kind: ParticipantKind::User })
    }

    /// The model that answers.
    #[must_use]
    pub fn assistant(model: &str) -> Self {
        let name = model.chars().take(NAME_CHARS).collect();
        Self { id: Self::ASSISTANT.into(), name, kind: ParticipantKind::Model }
    }
}

/// The news of one conversation that an instance sends to the others.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum RoomHint {
    /// Somebody is there now.
    Joined {
        /// The participants.
        participant: Participant,
    },
    /// Nobody of that id is there any more.
    Left {
        /// Its id.
        id: String,
    },
    /// Somebody types, or has stopped.
    Typing {
        /// The participants.
        participant: Participant,
        /// Whether it goes on.
        active: bool,
    },
    /// Who is there? Asked by an instance that has its first participant.
    Ask,
    /// These are there.
    Here {
        /// The participants.
        participants: Vec<Participant>,
    },
}
