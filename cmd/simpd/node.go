package main

import (
	"context"
	"errors"
	"log/slog"
)

var errAtOnce = errors.New("ended at once by a second signal")

type node struct{}

func startNode(ctx context.Context, c *config, l *slog.Logger) (*node, error) { return &node{}, nil }
func (n *node) Broken() <-chan error                                          { return nil }
func (n *node) Kill()                                                         {}
func (n *node) Stop(ctx context.Context)                                      {}
func (n *node) Reload(c *config) error                                        { return nil }
