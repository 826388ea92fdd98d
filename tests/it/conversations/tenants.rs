//! The data of another tenant does not exist, on every way into the store.
use lastword::domain::conversation::{Change, Content, NewMessage, ParentAsked, TurnAsked};
use lastword::domain::generation::Request;
use lastword::domain::id::{ConversationId, MessageId, Tenant};
use lastword::domain::json::JsonObject;
use lastword::domain::prompt::{Parameters, Prompt, Role};
use lastword::engine::{Caller, ConverseError, MessagePage, Start, StartError, Which};
use lastword::ports::{ConversationAt, Made, Page, Search, ShareOutcome};
use serde_json::{Map, json};

use crate::conversation::Talk;
use crate::harness::TestApp;
use crate::wrong::{Mistake, wrong_log};

const SHORT: &str = "/demo tokens=1 tps=0";

fn page(search: Option<Search>) -> Page {
    Page { before: None, search, limit: 10 }
}

pub(super) fn said(tenant: &Tenant, id: ConversationId, parent: ParentAsked, text: &str) -> Start {
    let turn = TurnAsked {
        conversation: id,
        parent,
        concurrent: true,
        system: None,
        messages: vec![NewMessage::text(Role::User, Content::Text(text.into()))],
        earlier: None,
    };
    let request = Request {
        model: "demo".into(),
        prompt: Prompt::parse_turn(Vec::new(), Parameters::default(), 100).unwrap(),
        metadata: JsonObject::default(),
        on_disconnect: lastword::domain::generation::OnDisconnect::Continue,
        echo: Map::new(),
        chat: None,
        wall_s: None,
        continues: None,
        trace: None,
        source: None,
    };
    Start {
        caller: Caller::keyless(tenant.clone()),
        request,
        idempotency: None,
        turn: Some(turn),
        repeat: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenant_sees_and_changes_nothing() {
    let app = TestApp::start().await;
    let talk = Talk::open(&app.client, &json!({"title": "mine"})).await;
    let turn = talk.prompt("/demo tokens=1 tps=0").await;
    let log = wrong_log(&app.database.url, Mistake::None).await;
    let store = log.conversations;
    let other = Tenant::named("other".into());
    let id: ConversationId = talk.id.parse().unwrap();
    let (leaf, question): (MessageId, MessageId) =
        (turn.id.parse().unwrap(), turn.parent.parse().unwrap());
    let at = ConversationAt { tenant: other.clone(), id };
    let before = (talk.get("").await, talk.get("/messages").await);

    assert!(store.find(&at).await.unwrap().is_none());
    for search in
        [None, Some(Search::Words("demo".into())), Some(Search::Characters("demo".into()))]
    {
        assert!(store.list(&other, &page(search)).await.unwrap().is_empty());
    }
    assert!(store.branch(&at, leaf, 10).await.unwrap().is_empty());
    assert!(store.tree(&at, None, 10).await.unwrap().is_empty());
    assert!(store.running(&at).await.unwrap().is_empty());
    assert!(store.question(&at, leaf).await.unwrap().is_none());
    assert!(store.context(&at, leaf, 1000).await.unwrap().is_none());
    for later_turns in [false, true] {
        let shared = store.share(&at, b"hash", later_turns).await.unwrap();
        assert_eq!(shared, ShareOutcome::NoConversation);
    }
    assert!(!store.unshare(&at).await.unwrap());
    let change = Change { title: Some(Some("theirs".into())), ..Change::default() };
    let engine = &app.engine;
    assert!(matches!(engine.change_conversation(&at, &change).await, Err(ConverseError::NotFound)));
    let change = Change { active_leaf: Some(Some(question)), ..Change::default() };
    assert!(matches!(engine.change_conversation(&at, &change).await, Err(ConverseError::NotFound)));
    assert!(matches!(engine.erase_conversation(&at).await, Err(ConverseError::NotFound)));
    let page = MessagePage { cursor: None, limit: 10 };
    assert!(matches!(engine.messages(&at, Which::Tree, page).await, Err(ConverseError::NotFound)));
    let start = engine.start(said(&other, id, ParentAsked::Active, SHORT)).await;
    assert!(matches!(start, Err(StartError::NoConversation)), "{start:?}");

    // Nor can a message of it stand below one's own.
    let own = engine
        .new_conversation(&lastword::domain::conversation::NewConversation {
            tenant: other.clone(),
            title: None,
            system: None,
            metadata: JsonObject::default(),
            messages: Vec::new(),
            idempotency: None,
        })
        .await
        .unwrap();
    let Made::New(own) = own else { panic!("{own:?}") };
    for foreign in [leaf, question] {
        let start = engine.start(said(&other, own.id, ParentAsked::Message(foreign), SHORT)).await;
        assert!(matches!(start, Err(StartError::NoMessage)), "{start:?}");
    }
    assert_eq!((talk.get("").await, talk.get("/messages").await), before);
    app.stop().await;
}
