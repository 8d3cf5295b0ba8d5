use std::{process::ExitCode, time::Duration};

use kube::Client;
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tower::BoxError;

use crate::{
    ControllerArgs, EndedTask, Error, EventRecorder, Liveness, Metrics, Readiness, Tasks,
    admin::Admin,
    client::Clients,
    error::with_causes,
    lease::{Candidate, Fence, HeldLease},
    shutdown, telemetry,
};

/// The time that an operator has to stop after a signal.
const GRACE: Duration = Duration::from_secs(10);

/// What an operator uses while it leads.
#[derive(Clone)]
pub struct Context {
    /// The client. Each attempt has a timeout and is counted. Transient errors are retried with backoff if the request
    /// can be repeated safely; 404 and 409 never are. Fewer requests are in flight when the API server is slow. Changes
    /// wait, without a limit, while another process may hold the lease.
    pub client: Client,
    /// Served at `/metrics`.
    pub metrics: Metrics,
    /// Served at `/readyz`; declare conditions at the start.
    pub readiness: Readiness,
    /// Served at `/healthz`; declare a heartbeat for each main loop.
    pub liveness: Liveness,
    /// Starts the tasks that must not end; the process ends with an error if one does.
    pub tasks: Tasks,
    /// Cancelled by SIGTERM and SIGINT; the operator then ends within 10 s.
    pub shutdown: CancellationToken,
    /// The identity of this process in the lease.
    pub identity: String,
    /// The namespace of the operator.
    pub namespace: String,
    operator: String,
}

impl Context {
    /// A recorder of Events of this operator.
    #[must_use]
    pub fn event_recorder(&self) -> EventRecorder {
        EventRecorder::new(self.client.clone(), &self.operator, &self.identity)
    }
}

/// Runs an operator as a process: sets up the [`Context`], waits until it holds the lease `kubeci-<name>`, then calls
/// `operate`, which returns after [`Context::shutdown`].
///
/// A standby serves `/healthz`, `/readyz` (ready) and `/metrics` too. The process must exit with the returned code:
/// success only after a signal and a clean stop; otherwise a log line has the error. It ends when another process has
/// taken the lease. While the API server does not answer, requests wait.
pub async fn run<F, Fut, E>(name: &str, args: ControllerArgs, operate: F) -> ExitCode
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

async fn lead<F, Fut, E>(name: &str, args: &ControllerArgs, operate: F) -> Result<(), Error>
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
    args: &ControllerArgs,
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

/// Renews the lease while the operator runs. The lease is released only after a clean stop: otherwise a part of the
/// operator may still run, and the next leader waits until the lease expires.
async fn while_held(
    mut held: HeldLease,
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

/// The next task that ends before a signal; after it tasks may end.
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
    ended.map_err(Error::Panicked)?.map_err(Error::Operator)?;
    if shutdown.is_cancelled() {
        Ok(())
    } else {
        Err(Error::Ended)
    }
}
