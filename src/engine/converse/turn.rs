//! A start in a conversation. The message is stored with the generation that answers it. The
//! generation's request holds everything that its model gets.
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout_at};

use super::super::Engine;
use super::super::models::Model;
use crate::domain::context;
use crate::domain::context::fit;
use crate::domain::conversation::{
    NewMessage, ParentAsked, Turn, TurnAsked, TurnPosition, title_of,
};
use crate::domain::entry::Entry;
use crate::domain::event::Event;
use crate::domain::generation::NewGeneration;
use crate::domain::id::{ConversationId, Epoch, GenerationId, MessageId, Seq};
use crate::domain::prompt::{BYTES_PER_TOKEN, Message, Role};
use crate::engine::run::delta_batch::notice;
use crate::engine::run::start::{PAUSE, StartError, patience};
use crate::ports::{Address, Begun, Context, ConversationAt, Created, LogError};

/// Places in which starts of this process wait for each other, each for some conversations.
const PLACES: usize = 64;

/// Starts in one conversation go one after the other. Each would otherwise move the leaf that the
/// others have read, and many at once would try again until their time is over.
pub(in super::super) struct Turns([Mutex<()>; PLACES]);

impl Default for Turns {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Mutex::default()))
    }
}

impl Turns {
    fn of(&self, conversation: ConversationId) -> &Mutex<()> {
        let place = conversation.0.as_u128() % PLACES as u128;
        &self.0[usize::try_from(place).unwrap_or_default()]
    }
}

/// Where a turn begins, as it was read.
struct Ground {
    parent: Option<MessageId>,
    /// The active leaf that the client expects.
    expected_leaf: Option<Option<MessageId>>,
    system: Option<String>,
    /// The conversation up to the parent.
    context: Context,
}

impl Engine {
    /// Stores a turn with its generation. A context that was read before the lock is checked under
    /// it, and read again if it is no longer true. Messages themselves never change.
    pub(in super::super) async fn begin_turn(
        &self,
        mut new: NewGeneration,
        asked: TurnAsked,
        model: &Model,
    ) -> Result<Created, StartError> {
        if let Some(key) = &new.idempotency
            && let Some(earlier) = self.inner.log.generations.repeated(&new.tenant, key).await?
        {
            return Ok(earlier);
        }
        // Made once: a try whose outcome is unknown is the same start.
        let ids: Vec<MessageId> = asked.messages.iter().map(|_| MessageId::random()).collect();
        let give_up = Instant::now() + patience(&new.request);
        let mine = timeout_at(give_up, self.inner.turns.of(asked.conversation).lock()).await;
        let Ok(_mine) = mine else { return Err(StartError::Overloaded) };
        while Instant::now() < give_up {
            match self.try_turn(&mut new, &asked, &ids, model).await {
                Ok(Begun::Generation(created)) => return Ok(created),
                Ok(Begun::Busy(running)) => return Err(StartError::Busy(running)),
                Ok(Begun::NoConversation) => return Err(StartError::NoConversation),
                // Somebody else was served meanwhile.
                Ok(Begun::Moved) => {}
                Err(StartError::Log(LogError::Unavailable(why)))
                    if Instant::now() + PAUSE < give_up =>
                {
                    tracing::debug!(why, "the start is tried again");
                    sleep(PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
        Err(StartError::Overloaded)
    }

    async fn try_turn(
        &self,
        new: &mut NewGeneration,
        asked: &TurnAsked,
        ids: &[MessageId],
        model: &Model,
    ) -> Result<Begun, StartError> {
        if let Some(earlier) = &asked.earlier {
            return Ok(self.continue_turn(new, asked, earlier).await?);
        }
        let at = ConversationAt { tenant: new.tenant.clone(), id: asked.conversation };
        let room = self.room(new.request.prompt.parameters.max_output_tokens, model);
        let ground = self.ground(&at, asked, room).await?;
        let answered = ids.last().copied().or(ground.parent).ok_or(StartError::NoQuestion)?;
        new.place = Some(TurnPosition { conversation: at.id, parent: answered });
        let blind = model.pictures == Some(false);
        let unseen =
            blind && ground.context.messages.iter().any(|m| m.kept_pictures().next().is_some());
        let context = for_model(ground.context, ground.system, asked, room);
        new.request.prompt.messages = context.messages;
        let first_question = asked.messages.iter().find(|m| m.role == Role::User);
        let turn = Turn {
            parent: ground.parent,
            messages: ids.iter().copied().zip(asked.messages.iter().cloned()).collect(),
            expected_leaf: ground.expected_leaf,
            concurrent: asked.concurrent,
            title: first_question.and_then(title),
            first: numbered(context.left_out, unseen),
        };
        Ok(self.conversations().begin(new, &turn).await?)
    }

    /// The tokens that a model has for its context: its window without the room for the answer.
    /// That room is a quarter of the window unless the request limits the answer.
    pub(super) fn room(&self, max_output_tokens: Option<u32>, model: &Model) -> u64 {
        let most = self.inner.limits.context_bytes as u64 / BYTES_PER_TOKEN;
        let Some(window) = model.context_tokens else { return most };
        let window = window.get();
        let answer = max_output_tokens.unwrap_or(window / 4);
        u64::from(window.saturating_sub(answer)).min(most)
    }

    async fn ground(
        &self,
        at: &ConversationAt,
        asked: &TurnAsked,
        room: u64,
    ) -> Result<Ground, StartError> {
        let store = self.conversations();
        let found = store.find(at).await?.ok_or(StartError::NoConversation)?;
        let again = asked.messages.is_empty();
        let (mut parent, expected_leaf) = match asked.parent {
            ParentAsked::Active => (found.active_leaf, Some(found.active_leaf)),
            ParentAsked::Root => (None, None),
            ParentAsked::Message(id) => (Some(id), None),
        };
        if let Some(leaf) = parent.filter(|_| again && asked.parent == ParentAsked::Active) {
            parent = store.question(at, leaf).await?;
        }
        if again && parent.is_none() {
            return Err(StartError::NoQuestion);
        }
        let context = match parent {
            None => Context { messages: Vec::new(), missing: 0 },
            Some(id) => match store.context(at, id, room.saturating_mul(BYTES_PER_TOKEN)).await? {
                Some(context) => context,
                None => return Err(self.no_parent(at, id).await?),
            },
        };
        if again && context.messages.last().is_none_or(|m| m.role != Role::User) {
            return Err(StartError::NotAQuestion);
        }
        Ok(Ground { parent, expected_leaf, system: found.system, context })
    }

    /// A parent that is no message: perhaps it is an answer that is being made.
    async fn no_parent(&self, at: &ConversationAt, id: MessageId) -> Result<StartError, LogError> {
        let address = Address { tenant: at.tenant.clone(), id: GenerationId(id.0) };
        let row = self.inner.log.generations.generation(&address).await?;
        let running = row.filter(|row| {
            row.place.is_some_and(|p| p.conversation == at.id) && !row.status.is_ended()
        });
        Ok(running.map_or(StartError::NoMessage, |row| StartError::Busy(row.id)))
    }
}

/// The messages for a model: a branch with `asked` below it, cut to `room` tokens.
pub(super) fn for_model(
    before: Context,
    system: Option<String>,
    asked: &TurnAsked,
    room: u64,
) -> context::Context {
    let said = asked.messages.iter().map(NewMessage::whole);
    let mut branch: Vec<Message> = before.messages.into_iter().chain(said).collect();
    without_open_calls(&mut branch);
    fit(asked.system.clone().or(system), branch, before.missing, room)
}

/// Takes out the calls that no tool has answered: no model's server takes these.
fn without_open_calls(branch: &mut [Message]) {
    let answered: Vec<String> = branch.iter().filter_map(|m| m.tool_call_id.clone()).collect();
    for message in branch {
        message.tool_calls.retain(|call| answered.contains(&call.id));
    }
}

/// A name for a conversation that begins with this.
fn title(question: &NewMessage) -> Option<String> {
    let pictures = question.content.has_pictures().then(|| "Picture".to_owned());
    title_of(&question.content.text()).or(pictures)
}

/// The notices of what the model is not told, right behind `started`.
fn numbered(left_out: u64, unseen: bool) -> Vec<Entry> {
    let cut = (left_out > 0).then(|| cut(left_out));
    let unseen = unseen.then(|| {
        let text = "this model cannot see the earlier pictures: it is told that they were there";
        notice("pictures_left_out", text)
    });
    let notices = cut.into_iter().chain(unseen);
    (2..).zip(notices).map(|(seq, n)| Entry::encode(Seq(seq), &n).by(Epoch::FIRST)).collect()
}

/// The notice that a context was cut.
fn cut(left_out: u64) -> Event {
    let messages = if left_out == 1 { "message" } else { "messages" };
    let text = format!("{left_out} older {messages} did not fit into the model's context");
    notice("context_cut", &text)
}
