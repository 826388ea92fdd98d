//! Pictures on their way: kept when they come, named by prompts, whole when a model is asked.
use std::collections::HashMap;

use super::Engine;
use super::models::Model;
use super::run::generate::Generation;
use super::run::start::{Start, StartError};
use crate::domain::id::Tenant;
use crate::domain::picture::{Picture, PictureId, encoded};
use crate::domain::prompt::{Image, Message, MessagePart, MessageParts, Prompt, PromptError};
use crate::domain::share::ShareToken;
use crate::ports::{LogError, Pictures};

/// The word that a model reads in the place of a picture that it does not get.
const LEFT_OUT: &str = "[picture]";

impl Engine {
    fn pictures(&self) -> &dyn Pictures {
        &*self.inner.log.pictures
    }

    /// Keeps a picture; false if it was there already.
    ///
    /// # Errors
    /// The log is out of reach or broken.
    pub async fn keep_picture(&self, tenant: &Tenant, picture: &Picture) -> Result<bool, LogError> {
        self.pictures().keep(tenant, picture).await
    }

    /// A picture of the tenant.
    ///
    /// # Errors
    /// The log is out of reach or broken.
    pub async fn find_picture(
        &self,
        tenant: &Tenant,
        id: PictureId,
    ) -> Result<Option<Picture>, LogError> {
        self.pictures().find(tenant, id).await
    }

    /// A picture of the branch behind a link.
    ///
    /// # Errors
    /// The log is out of reach or broken.
    pub async fn shared_picture(
        &self,
        token: &ShareToken,
        id: PictureId,
    ) -> Result<Option<Picture>, LogError> {
        self.pictures().shared(&token.hash(), id).await
    }

    /// Refuses new pictures that the model cannot see, that are not here, or that are too much.
    pub(super) async fn check_pictures(
        &self,
        start: &Start,
        model: &Model,
    ) -> Result<(), StartError> {
        // An answer that goes on has pictures that were taken before.
        if start.request.continues.is_some() {
            return Ok(());
        }
        let prompt = &start.request.prompt;
        let named: Vec<PictureId> =
            prompt.messages.iter().flat_map(Message::kept_pictures).collect();
        if named.is_empty() {
            return Ok(());
        }
        // One that a vendor's client sends is for the model's own server to refuse.
        if model.pictures == Some(false) {
            return Err(StartError::CannotSee(model.name.clone()));
        }
        let sizes = self.pictures().sizes(start.caller.tenant(), &named).await?;
        let sizes: HashMap<PictureId, u64> = sizes.into_iter().collect();
        let mut bytes = prompt.media_bytes() as u64;
        for id in &named {
            bytes += encoded(*sizes.get(id).ok_or(StartError::NoPicture(*id))?);
        }
        let (bytes, limit) = (usize::try_from(bytes).unwrap_or(usize::MAX), self.media_bytes());
        if bytes > limit {
            return Err(PromptError::MediaTooLarge { bytes, limit }.into());
        }
        Ok(())
    }

    fn media_bytes(&self) -> usize {
        self.inner.limits.media_bytes
    }
}

impl Generation {
    /// The prompt as its model is told it: with the pictures in the place of their names. The
    /// newest come first, as far as `media_bytes` goes; the place of another has a word.
    pub(super) async fn told(&self) -> Result<Prompt, LogError> {
        let mut prompt = self.request.prompt.clone();
        let mut room = self.engine.media_bytes();
        for message in prompt.messages.iter_mut().rev() {
            if message.images.is_empty() {
                continue;
            }
            let mut seen = Vec::with_capacity(message.images.len());
            for image in &message.images {
                let url = match PictureId::of_url(&image.url) {
                    None => Some(image.url.clone()),
                    Some(_) if self.model.pictures == Some(false) => None,
                    Some(id) => {
                        let found = self.engine.pictures().find(&self.at.tenant, id).await?;
                        found.map(|picture| picture.data_url()).filter(|url| url.len() <= room)
                    }
                };
                room = room.saturating_sub(url.as_ref().map_or(0, String::len));
                seen.push(url);
            }
            put(message, seen);
        }
        Ok(prompt)
    }
}

/// Puts the pictures into their places, and a word into the place of one that is not there.
fn put(message: &mut Message, seen: Vec<Option<String>>) {
    if seen.iter().all(Option::is_some) {
        for (image, url) in message.images.iter_mut().zip(seen) {
            image.url = url.unwrap_or_default();
        }
        return;
    }
    let mut seen = seen.into_iter();
    let mut parts = MessageParts::default();
    for part in message.parts() {
        match part {
            MessagePart::Text(text) => parts.text(text.to_owned()),
            MessagePart::Image(image) => match seen.next().flatten() {
                Some(url) => parts.image(Image { url, ..image.clone() }),
                None => parts.text(LEFT_OUT.to_owned()),
            },
            MessagePart::Attachment(file, name) => parts.attachment(file.clone(), bare(name)),
            MessagePart::Own(own, name) => parts.own(own.clone(), bare(name)),
        }
    }
    let Message { content, images, attachments, own, places, .. } = parts.message(message.role);
    *message = Message { content, images, attachments, own, places, ..message.clone() };
}

/// A name without its brackets.
fn bare(name: &str) -> &str {
    name.trim_start_matches('[').trim_end_matches(']')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::prompt::Role;

    #[test]
    fn a_picture_that_is_not_there_leaves_a_word_in_its_place() {
        let image = |url: &str| Image { url: url.into(), detail: None };
        let mut parts = MessageParts::default();
        parts.text("a".into());
        parts.image(image("1"));
        parts.text("b".into());
        parts.image(image("2"));
        let mut message = parts.message(Role::User);
        put(&mut message, vec![None, Some("data:2".into())]);
        let two = image("data:2");
        let expected = [
            MessagePart::Text("a"),
            MessagePart::Text(LEFT_OUT),
            MessagePart::Text("b"),
            MessagePart::Image(&two),
        ];
        assert_eq!(message.parts(), expected);
        put(&mut message, vec![None]);
        assert_eq!(message.content, "a\n[picture]\nb\n[picture]");
        assert!(message.is_text());
    }
}
