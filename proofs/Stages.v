(** Layers to pipeline stages: filling each stage as far as a limit admits uses the fewest stages. *)

From Coq Require Import List Arith ZArith Lia Bool.
Import ListNotations.

(** * Any limit that a stage keeps after losing layers at either end *)

Section Fill.
Context {layer : Type} (ok : list layer -> bool).

Hypothesis ok_prefix : forall l r, ok (l ++ r) = true -> ok l = true.
Hypothesis ok_suffix : forall l r, ok (l ++ r) = true -> ok r = true.

(** Number of stages, [open] being the stage so far; None when a layer alone is above the limit. *)
Fixpoint fill (open rest : list layer) : option nat :=
  match rest with
  | [] => Some (match open with [] => 0 | _ => 1 end)
  | x :: rest =>
      if ok (open ++ [x]) then fill (open ++ [x]) rest
      else if ok [x] then option_map S (fill [x] rest) else None
  end.

(** A contiguous split into stages that keep the limit. *)
Definition splits (layers : list layer) (stages : list (list layer)) : Prop :=
  concat stages = layers /\ Forall (fun s => ok s = true) stages.

(** A stage that began later is never worse, and better by at most one stage. *)
Lemma fill_later rest : forall z o,
  (forall n, fill (z ++ o) rest = Some n -> exists n', n' <= n /\ fill o rest = Some n')
  /\ (forall n, fill o rest = Some n -> exists n', n' <= S n /\ fill (z ++ o) rest = Some n').
Proof.
  induction rest as [|x rest IH]; intros z o; simpl.
  - split; intros n H; inversion H; subst; eexists; (split; [|reflexivity]).
    + destruct o; [lia|]. destruct (z ++ l :: o) eqn:E; [destruct z; discriminate|lia].
    + destruct (z ++ o); lia.
  - rewrite <- app_assoc. destruct (ok (z ++ o ++ [x])) eqn:E1.
    + rewrite (ok_suffix _ _ E1). apply IH.
    + destruct (ok (o ++ [x])) eqn:E2; [|split; intros n H; exists n; auto with arith].
      rewrite (ok_suffix _ _ E2). destruct (IH o [x]) as [A B]. split; intros n H.
      * destruct (fill [x] rest) as [m|] eqn:F; [|discriminate]. inversion H; subst. apply B. reflexivity.
      * destruct (A n H) as (m & Hm & F). rewrite F. exists (S m). split; [lia|reflexivity].
Qed.

Lemma fill_whole s : forall o rest, ok (o ++ s) = true -> fill o (s ++ rest) = fill (o ++ s) rest.
Proof.
  induction s as [|x s IH]; intros o rest H; simpl; [rewrite app_nil_r; reflexivity|].
  replace (o ++ x :: s) with ((o ++ [x]) ++ s) in * by (rewrite <- app_assoc; reflexivity).
  rewrite (ok_prefix _ _ H). apply IH, H.
Qed.

(** No split that keeps the limit has fewer stages. *)
Theorem fill_fewest layers stages : splits layers stages -> exists n, n <= length stages /\ fill [] layers = Some n.
Proof.
  intros [<- H]. induction H as [|s stages Hs _ (n & Hn & F)]; simpl; [exists 0; auto|].
  rewrite fill_whole by exact Hs. destruct (fill_later (concat stages) s []) as [_ B].
  rewrite app_nil_r in B. destruct (B n F) as (m & Hm & Fm). exists m. split; [lia|exact Fm].
Qed.

(** The stages filled do keep the limit, and none is empty. *)
Lemma fill_splits rest : forall open n, (open = [] \/ ok open = true) -> fill open rest = Some n ->
  exists stages, splits (open ++ rest) stages /\ length stages = n /\ Forall (fun s => s <> []) stages.
Proof.
  induction rest as [|x rest IH]; intros open n Ho F; simpl in F.
  - inversion F; subst. destruct open as [|y open]; [exists []; repeat constructor|].
    destruct Ho as [Ho|Ho]; [discriminate|]. exists [y :: open].
    split; [split; [simpl; rewrite !app_nil_r; reflexivity|constructor; [exact Ho|constructor]]|].
    split; [reflexivity|constructor; [discriminate|constructor]].
  - destruct (ok (open ++ [x])) eqn:E.
    + destruct (IH (open ++ [x]) n (or_intror E) F) as (stages & H). rewrite <- app_assoc in H. exists stages. exact H.
    + destruct (ok [x]) eqn:Ex; [|discriminate]. destruct (fill [x] rest) as [m|] eqn:Fx; [|discriminate]. inversion F; subst.
      destruct (IH [x] m (or_intror Ex) Fx) as (stages & [HC HF] & HL & HN).
      destruct Ho as [->|Ho]; [simpl in E; congruence|].
      assert (Hne : open <> []) by (intros ->; simpl in E; congruence).
      exists (open :: stages). repeat split; simpl; [rewrite HC; reflexivity|constructor; assumption|lia|constructor; assumption].
Qed.

(** A longer stage may be cut in two. *)
Lemma cut_stage layers stages n : splits layers stages -> Forall (fun s => s <> []) stages ->
  length stages <= n <= length layers ->
  exists more, splits layers more /\ length more = n /\ Forall (fun s => s <> []) more.
Proof.
  intros HS HN Hn. remember (n - length stages) as k eqn:Ek. revert stages HS HN Hn Ek.
  induction k as [|k IH]; intros stages HS HN Hn Ek; [exists stages; repeat split; try apply HS; [lia|exact HN]|].
  assert (exists s1 a b c s2, stages = s1 ++ (a :: b :: c) :: s2) as (s1 & a & b & c & s2 & ->).
  { destruct HS as [<- _]. assert (HL : length stages < length (concat stages)) by lia. clear - HN HL.
    induction HN as [|s stages Hs _ IHs]; simpl in HL; [lia|]. rewrite app_length in HL.
    destruct s as [|a [|b c]]; [contradiction|..].
    - destruct IHs as (s1 & a' & b & c & s2 & ->); [simpl in HL; lia|]. exists ([a] :: s1), a', b, c, s2. reflexivity.
    - exists [], a, b, c, stages. reflexivity. }
  destruct HS as [HC HF]. apply Forall_app in HF as [HF1 HF2]. inversion HF2 as [|? ? Hab HF3]; subst.
  apply Forall_app in HN as [HN1 HN2]. inversion HN2 as [|? ? _ HN3]; subst.
  rewrite app_length in Hn, Ek. simpl in Hn, Ek.
  apply (IH (s1 ++ [a] :: (b :: c) :: s2)); [split| |rewrite app_length; simpl; lia|rewrite app_length; simpl; lia].
  - rewrite !concat_app. simpl. reflexivity.
  - apply Forall_app. split; [exact HF1|]. constructor; [apply (ok_prefix [a] (b :: c) Hab)|].
    constructor; [apply (ok_suffix [a] (b :: c) Hab)|exact HF3].
  - apply Forall_app. split; [exact HN1|]. constructor; [discriminate|]. constructor; [discriminate|exact HN3].
Qed.

(** [pp] non-empty stages that keep the limit exist iff filling uses at most [pp]. *)
Theorem stages_exist layers pp : pp <= length layers ->
  (exists stages, splits layers stages /\ length stages = pp /\ Forall (fun s => s <> []) stages)
  <-> exists n, n <= pp /\ fill [] layers = Some n.
Proof.
  intros Hpp. split.
  - intros (stages & HS & <- & _). apply fill_fewest, HS.
  - intros (n & Hn & F). destruct (fill_splits layers [] n (or_introl eq_refl) F) as (stages & HS & HL & HN).
    apply (cut_stage layers stages pp HS HN). lia.
Qed.
End Fill.

(** * Sums of non-negative needs, with a choice for each layer *)

Open Scope Z_scope.

(** Time, memory, traffic: a component each. *)
Notation need := (list Z).

(** A layer is one need for each way to run it. *)
Notation choices := (list need).

Definition plus (a b : need) : need := map (fun q => fst q + snd q) (combine a b).

Fixpoint at_most (a limit : need) : bool :=
  match a, limit with [], [] => true | x :: a, l :: limit => (x <=? l) && at_most a limit | _, _ => false end.

(** All that a stage may need in all, whatever is chosen in each layer. *)
Fixpoint sums (zero : need) (stage : list choices) : list need :=
  match stage with [] => [zero] | c :: stage => flat_map (fun s => map (fun a => plus a s) c) (sums zero stage) end.

Definition well_formed (limit : need) (c : choices) : bool :=
  forallb (fun a => Nat.eqb (length a) (length limit) && forallb (Z.leb 0) a) c.

(** Some choices keep a stage within the limit. *)
Definition keeps (limit : need) (stage : list choices) : bool :=
  forallb (well_formed limit) stage && existsb (fun s => at_most s limit) (sums (map (fun _ => 0) limit) stage).

(** At most [pp] stages are needed. *)
Definition fits_stages (pp : nat) (limit : need) (layers : list choices) : bool :=
  match fill (keeps limit) [] layers with Some n => (n <=? pp)%nat | None => false end.

Section Keeps.
Variable limit : need.
Let zero : need := map (fun _ => 0) limit.

Definition below (a b : need) : Prop := Forall2 Z.le a b.

Lemma below_refl a : below a a.
Proof. induction a; constructor; [lia|assumption]. Qed.

Lemma at_most_below a b : below a b -> forall l, at_most b l = true -> at_most a l = true.
Proof.
  induction 1 as [|x y a b H _ IH]; intros [|l ls]; simpl; try discriminate; auto.
  rewrite !andb_true_iff, !Z.leb_le. intros [H1 H2]. split; [lia|auto].
Qed.

Lemma plus_below a : forall b c, below b c -> below (plus a b) (plus a c).
Proof.
  induction a as [|x a IH]; intros b c [|y z b' c' H H']; try constructor; simpl; [lia|]. apply IH, H'.
Qed.

Lemma plus_above a : forall b, length a = length b -> Forall (Z.le 0) a -> below b (plus a b).
Proof.
  induction a as [|x a IH]; intros [|y b] HL H; try discriminate; constructor; inversion H; subst; simpl; [lia|].
  apply IH; [inversion HL; reflexivity|assumption].
Qed.

Lemma plus_length a b : length a = length b -> length (plus a b) = length b.
Proof. intros H. unfold plus. rewrite map_length, combine_length. lia. Qed.

Lemma well_formed_spec c : well_formed limit c = true -> forall a, In a c -> length a = length limit /\ Forall (Z.le 0) a.
Proof.
  unfold well_formed. rewrite forallb_forall. intros H a Ha. specialize (H a Ha).
  apply andb_true_iff in H as [HL H]. apply Nat.eqb_eq in HL. split; [exact HL|].
  apply Forall_forall. rewrite forallb_forall in H. intros x Hx. apply Z.leb_le, H, Hx.
Qed.

Lemma sums_facts l : forallb (well_formed limit) l = true ->
  forall s, In s (sums zero l) -> length s = length limit /\ below zero s.
Proof.
  induction l as [|c l IH]; simpl; intros HW s Hs.
  - destruct Hs as [<-|[]]. split; [unfold zero; rewrite map_length; reflexivity|apply below_refl].
  - apply andb_true_iff in HW as [Hc HW]. apply in_flat_map in Hs as (s' & Hs' & Hs). apply in_map_iff in Hs as (a & <- & Ha).
    destruct (well_formed_spec c Hc a Ha) as [HL HN]. destruct (IH HW s' Hs') as [HL' HB].
    split; [rewrite plus_length; lia|].
    assert (H : below s' (plus a s')) by (apply plus_above; [lia|exact HN]).
    clear - HB H. revert H. generalize (plus a s') as t.
    induction HB as [|x y b c Hxy _ IH]; intros t H; inversion H; subst; constructor; [lia|].
    apply IH. assumption.
Qed.

Lemma sums_prefix l r : forallb (well_formed limit) (l ++ r) = true ->
  forall s, In s (sums zero (l ++ r)) -> exists s', In s' (sums zero l) /\ below s' s.
Proof.
  induction l as [|c l IH]; simpl; intros HW s Hs.
  - exists zero. split; [auto|]. apply (sums_facts r HW s Hs).
  - apply andb_true_iff in HW as [_ HW]. apply in_flat_map in Hs as (s1 & Hs1 & Hs). apply in_map_iff in Hs as (a & <- & Ha).
    destruct (IH HW s1 Hs1) as (s' & Hs' & HB). exists (plus a s'). split; [|apply plus_below, HB].
    apply in_flat_map. exists s'. split; [exact Hs'|]. apply in_map_iff. exists a. auto.
Qed.

Lemma sums_suffix l r : forallb (well_formed limit) (l ++ r) = true ->
  forall s, In s (sums zero (l ++ r)) -> exists s', In s' (sums zero r) /\ below s' s.
Proof.
  induction l as [|c l IH]; simpl; intros HW s Hs; [exists s; auto using below_refl|].
  apply andb_true_iff in HW as [Hc HW]. apply in_flat_map in Hs as (s1 & Hs1 & Hs). apply in_map_iff in Hs as (a & <- & Ha).
  destruct (IH HW s1 Hs1) as (s' & Hs' & HB). exists s'. split; [exact Hs'|].
  destruct (well_formed_spec c Hc a Ha) as [HL HN]. destruct (sums_facts _ HW s1 Hs1) as [HL1 _].
  assert (H : below s1 (plus a s1)) by (apply plus_above; [lia|exact HN]).
  clear - HB H. revert H. generalize (plus a s1) as t.
  induction HB as [|x y b c Hxy _ IH]; intros t H; inversion H; subst; constructor; [lia|].
  apply IH. assumption.
Qed.

Lemma keeps_prefix l r : keeps limit (l ++ r) = true -> keeps limit l = true.
Proof.
  unfold keeps. rewrite !andb_true_iff, !existsb_exists. fold zero. intros [HW (s & Hs & HL)]. split.
  - rewrite forallb_app in HW. apply andb_true_iff in HW. tauto.
  - destruct (sums_prefix l r HW s Hs) as (s' & Hs' & HB). exists s'. split; [exact Hs'|]. apply (at_most_below s' s HB _ HL).
Qed.

Lemma keeps_suffix l r : keeps limit (l ++ r) = true -> keeps limit r = true.
Proof.
  unfold keeps. rewrite !andb_true_iff, !existsb_exists. fold zero. intros [HW (s & Hs & HL)]. split.
  - rewrite forallb_app in HW. apply andb_true_iff in HW. tauto.
  - destruct (sums_suffix l r HW s Hs) as (s' & Hs' & HB). exists s'. split; [exact Hs'|]. apply (at_most_below s' s HB _ HL).
Qed.

(** A contiguous split into [pp] non-empty stages, each within the limit under some choices, exists iff filling says so. *)
Theorem fits_stages_spec pp layers : (pp <= length layers)%nat ->
  fits_stages pp limit layers = true <-> exists stages, splits (keeps limit) layers stages
    /\ length stages = pp /\ Forall (fun s => s <> []) stages.
Proof.
  intros Hpp. rewrite (stages_exist (keeps limit) keeps_prefix keeps_suffix layers pp Hpp). unfold fits_stages.
  destruct (fill (keeps limit) [] layers) as [n|] eqn:F.
  - rewrite Nat.leb_le. split; [intros H; exists n; auto|intros (m & Hm & E); inversion E; subst; exact Hm].
  - split; [discriminate|intros (m & _ & E); discriminate].
Qed.
End Keeps.
