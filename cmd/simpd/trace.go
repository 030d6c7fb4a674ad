package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"simpd/cmd/internal/cli"
	"simpd/protocol"
	"simpd/store"
)

// tracer follows messages with OpenTelemetry: a span on the sender's node,
// from SEND to the outcome, and one below it on the recipient's, from the
// hand-over to the client's answer. What messages say, and who their people
// are, is in no span.
type tracer struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
	node     attribute.KeyValue
}

// newTracer follows messages if the environment says where to: the variables
// of OpenTelemetry (OTEL_EXPORTER_OTLP_ENDPOINT and its like) count. Nil:
// nobody wants to know.
func newTracer(ctx context.Context, node string) (*tracer, error) {
	if os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") == "" && os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") == "" {
		return nil, nil
	}
	exporter, err := otlptracegrpc.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("traces: %w", err)
	}
	about, err := resource.New(ctx, resource.WithFromEnv(), resource.WithAttributes(
		attribute.String("service.name", "simpd"), attribute.String("service.instance.id", node), attribute.String("service.version", cli.ReadVersions().Version)))
	if err != nil {
		return nil, fmt.Errorf("traces: %w", err)
	}
	p := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(about))
	return &tracer{p, p.Tracer("simpd"), attribute.String("simp.node", node)}, nil
}

// Sent begins the span of a message that begins its way here.
func (t *tracer) Sent(m *protocol.Message) (string, func(protocol.Outcome)) {
	ctx, span := t.tracer.Start(context.Background(), "SEND", trace.WithSpanKind(trace.SpanKindProducer), trace.WithTimestamp(m.Time),
		trace.WithAttributes(t.node, attribute.Int("simp.octets", len(m.Entity))))
	if !span.IsRecording() {
		return "", nil
	}
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return carrier["traceparent"], func(o protocol.Outcome) { endSpan(span, o) }
}

// Received begins the span of a message for a session of this node.
func (t *tracer) Received(m *protocol.Message, s store.Session, done func(protocol.Outcome)) func(protocol.Outcome) {
	ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{"traceparent": m.Trace})
	_, span := t.tracer.Start(ctx, "MESSAGE", trace.WithSpanKind(trace.SpanKindConsumer),
		trace.WithAttributes(t.node, attribute.String("simp.session", s.String())))
	return func(o protocol.Outcome) {
		endSpan(span, o)
		done(o)
	}
}

func endSpan(span trace.Span, o protocol.Outcome) {
	span.SetAttributes(attribute.Int("simp.status", int(o.Status)))
	if o.Status >= 500 {
		span.SetStatus(codes.Error, o.Text)
	}
	span.End()
}

// flush sends what was not sent yet, for a second at most.
func (t *tracer) flush(ctx context.Context, logger *slog.Logger) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil {
		logger.Warn("not all traces could be sent", "error", err)
	}
}
