use std::{process::ExitCode, time::Duration};

use kube::{
    Client,
    runtime::events::{Recorder, Reporter},
};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tower::BoxError;

use crate::{
    EndedTask, Error, Liveness, Metrics, Readiness, RuntimeArgs, Tasks,
    admin::Admin,
    client::Clients,
    error::with_causes,
    lease::{Candidate, Fence, Held},
    shutdown, telemetry,
};

/// How long an operator may take to stop once it is asked to.
const GRACE: Duration = Duration::from_secs(10);

/// What an operator works with while it leads.
#[derive(Clone)]
pub struct Context {
    /// Talks to the API server. Every answer is waited for within bounds and every attempt is counted;
    /// what fails in passing and can be repeated safely is, with backoff. 404 and 409 never are. Fewer
    /// requests are in flight when the API server is slow, and what changes something waits while the lease
    /// may be another's; such a wait has no bound.
    pub client: Client,
    /// What `/metrics` serves.
    pub metrics: Metrics,
    /// What `/readyz` answers from; declare conditions at the start.
    pub readiness: Readiness,
    /// What `/healthz` answers from; declare a heartbeat for each main loop.
    pub liveness: Liveness,
    /// Starts the tasks that must go on; the process ends with an error where one ends by itself.
    pub tasks: Tasks,
    /// Cancelled when the process is asked to stop; the operator then finishes within 10 s.
    pub shutdown: CancellationToken,
    /// The name that this process holds the lease with.
    pub identity: String,
    /// The operator's own namespace.
    pub namespace: String,
    operator: String,
}

impl Context {
    /// Records Events, which name `kube.ci/<operator>` as their source.
    #[must_use]
    pub fn recorder(&self) -> Recorder {
        let reporter = Reporter {
            controller: format!("kube.ci/{}", self.operator),
            instance: Some(self.identity.clone()),
        };
        Recorder::new(self.client.clone(), reporter)
    }
}

/// Runs an operator as a process: sets up everything in [`Context`], stands by until the lease
/// `kubeci-<name>` is held, then calls `operate`, which returns after [`Context::shutdown`].
///
/// Standing by it serves `/healthz`, `/readyz` (ready) and `/metrics` too. The process must exit with
/// the code that is returned: success only if it was asked to stop and did; a log line says why
/// otherwise. It ends when another process has taken the lease. Where the API server does not answer, requests
/// wait instead.
pub async fn run<F, Fut, E>(name: &str, args: RuntimeArgs, operate: F) -> ExitCode
where
    F: FnOnce(Context) -> Fut,
    Fut: Future<Output = Result<(), E>> + Send + 'static,
    E: Into<BoxError> + Send + 'static,
{
    telemetry::init(&args);
    match lead(name, &args, operate).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{}", with_causes(&error));
            ExitCode::FAILURE
        }
    }
}

async fn lead<F, Fut, E>(name: &str, args: &RuntimeArgs, operate: F) -> Result<(), Error>
where
    F: FnOnce(Context) -> Fut,
    Fut: Future<Output = Result<(), E>> + Send + 'static,
    E: Into<BoxError> + Send + 'static,
{
    let fence = Fence::closed();
    let (tasks, ended) = Tasks::new();
    let (context, lease_client) = prepare(name, args, tasks, &fence).await?;
    let candidate = Candidate::new(
        lease_client,
        &context.namespace,
        &format!("kubeci-{name}"),
        &context.identity,
        fence,
    );
    let shutdown = context.shutdown.clone();
    let acquired = shutdown.run_until_cancelled(candidate.acquire(&context.readiness));
    let Some(held) = acquired.await else {
        return Ok(());
    };
    context.readiness.leading();
    context.metrics.leading();
    let operator = operate(context);
    let operator = tokio::spawn(async move { operator.await.map_err(Into::into) });
    while_held(held, operator, ended, &shutdown).await
}

async fn prepare(
    name: &str,
    args: &RuntimeArgs,
    tasks: Tasks,
    fence: &Fence,
) -> Result<(Context, Client), Error> {
    let shutdown = shutdown::on_signal()?;
    let admin = Admin {
        liveness: Liveness::default(),
        readiness: Readiness::default(),
        metrics: Metrics::new(),
    };
    let address = admin.clone().serve(args.admin_address).await?;
    tracing::info!(
        operator = name,
        version = env!("CARGO_PKG_VERSION"),
        admin = %address,
        "starting"
    );
    let clients = Clients::connect(name, &admin.metrics, fence).await?;
    let client = clients.operator;
    let context = Context {
        operator: name.to_owned(),
        identity: args.identity()?,
        namespace: args.namespace_or(client.default_namespace()),
        client,
        metrics: admin.metrics,
        readiness: admin.readiness,
        liveness: admin.liveness,
        tasks,
        shutdown,
    };
    Ok((context, clients.lease))
}

/// Renews the lease beside the operator and hands it back only once the operator has stopped cleanly;
/// otherwise something of it may still act, and the next leader waits until the lease expires.
async fn while_held(
    mut held: Held,
    mut operator: JoinHandle<Result<(), BoxError>>,
    mut tasks: mpsc::UnboundedReceiver<EndedTask>,
    shutdown: &CancellationToken,
) -> Result<(), Error> {
    let ended = tokio::select! {
        lost = held.keep() => Err(lost.into()),
        task = next_ended(&mut tasks, shutdown) => Err(task.into()),
        ended = finish(&mut operator, shutdown) => ended,
    };
    match ended {
        Ok(()) => held.release().await,
        Err(_) => operator.abort(),
    }
    ended
}

/// The next task that ends before the operator is asked to stop; then they may.
async fn next_ended(
    tasks: &mut mpsc::UnboundedReceiver<EndedTask>,
    shutdown: &CancellationToken,
) -> EndedTask {
    while let Some(task) = tasks.recv().await {
        if !shutdown.is_cancelled() {
            return task;
        }
    }
    std::future::pending().await
}

async fn finish(
    operator: &mut JoinHandle<Result<(), BoxError>>,
    shutdown: &CancellationToken,
) -> Result<(), Error> {
    let ended = tokio::select! {
        ended = &mut *operator => ended,
        () = shutdown.cancelled() => tokio::time::timeout(GRACE, operator)
            .await
            .map_err(|_| Error::Unfinished(GRACE))?,
    };
    ended.map_err(Error::Died)?.map_err(Error::Operator)?;
    if shutdown.is_cancelled() {
        Ok(())
    } else {
        Err(Error::Ended)
    }
}
