//! Settings that could never work are refused at the start.
use lastword::app::{App, ModelsError};

use crate::database::TestDatabase;
use crate::harness::{config, model_config};

#[tokio::test(flavor = "multi_thread")]
async fn fallbacks_that_lead_nowhere_are_refused() {
    let database = TestDatabase::create().await;
    let refused = async |models: &[&str]| {
        let mut config = config(&database);
        let dir = tempfile::TempDir::new().unwrap();
        config.data_dir = dir.path().into();
        config.models = models.iter().map(|m| model_config(m)).collect();
        let error = App::build(&config).await.err().unwrap_or_else(|| panic!("{models:?}"));
        let lastword::app::AppError::Models(error) = error else { panic!("{error}") };
        error
    };
    let one = "name = 'one'\nprovider = 'demo'\nfallback = 'too'";
    let two = "name = 'two'\nprovider = 'demo'\nfallback = 'one'";
    let error = refused(&[one, two]).await;
    assert!(matches!(error, ModelsError::NoFallback(..)));
    assert!(error.to_string().contains("`two`?"), "{error}");
    let one = one.replace("too", "two");
    assert!(matches!(refused(&[&one, two]).await, ModelsError::FallbackCycle(_)));
    for (settings, why) in [
        ("provider = 'anthropic'\ncontinuation = 'provider_resume'", "needs provider = \"openai\""),
        ("provider = 'anthropic'\ncontinues_thoughts = true", "takes no thinking that broke off"),
        ("provider = 'demo'\nwire = 'chat'", "for provider = \"openai\" only"),
    ] {
        let refusal = refused(&[&format!("name = 'a'\nbase_url = 'http://a'\n{settings}")]).await;
        assert!(refusal.to_string().contains(why), "{refusal}");
    }
    let late = "name = 'a'\nprovider = 'openai'\nbase_url = 'http://a'\nconnect_timeout_s = 0.0";
    assert!(refused(&[late]).await.to_string().contains("connect_timeout_s must be between"));
}
